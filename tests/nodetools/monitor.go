package main

import (
	"encoding/json"

	"k8s.io/node-problem-detector/pkg/custompluginmonitor"
)

// monitor runs a custom plugin monitor until it is killed, and writes each status that it would publish. On a file that
// node-problem-detector does not accept, the process exits.
func monitor(path string, out *json.Encoder) error {
	statuses, err := custompluginmonitor.NewCustomPluginMonitorOrDie(path).Start()
	if err != nil {
		return err
	}
	for status := range statuses {
		if err := out.Encode(status); err != nil {
			return err
		}
	}
	return nil
}
