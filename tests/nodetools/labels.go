package main

import (
	"encoding/json"
	_ "unsafe" // for go:linkname

	"sigs.k8s.io/node-feature-discovery/pkg/apis/nfd/validate"
	"sigs.k8s.io/node-feature-discovery/source"
	_ "sigs.k8s.io/node-feature-discovery/source/local" // registers itself
)

// The directory that the source reads; no setting changes it.
//
//go:linkname featureFilesDir sigs.k8s.io/node-feature-discovery/source/local.featureFilesDir
var featureFilesDir string

// labels writes the labels that the files in a directory give a node, and why any of them would be dropped.
func labels(directory string, out *json.Encoder) error {
	featureFilesDir = directory
	if err := source.GetFeatureSource("local").Discover(); err != nil {
		return err
	}
	found, err := source.GetLabelSource("local").GetLabels()
	if err != nil {
		return err
	}
	dropped := map[string]string{}
	for name, value := range found {
		if err := validate.Label(name, value.(string)); err != nil {
			dropped[name] = err.Error()
		}
	}
	return out.Encode(map[string]any{"labels": found, "dropped": dropped})
}
