// Command kubelet runs the device manager of a real kubelet, without the rest of it, for tests.
//
// Tests drive it with JSON, one object per line: commands on standard input, responses and events on standard output.
// tests/harness/realkubelet.py is the other side. Each build contains one version of Kubernetes; the files named
// version_*.go cover the differences between the versions' interfaces.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/klog/v2"
)

const (
	maxCommandBytes = 16 * 1024 * 1024
	logLevel        = "2"
)

// A command of the test: "start" with the Pods on the node, or a command for one Pod.
type command struct {
	ID        int    `json:"id"`
	Do        string `json:"do"`
	Pods      []pod  `json:"pods"`
	Pod       pod    `json:"pod"`
	Container string `json:"container"`
}

// A response to the command with the same ID. Error is empty if it succeeded.
type answer struct {
	ID    int    `json:"id"`
	Error string `json:"error"`
}

func main() {
	pluginDir := flag.String("plugin-dir", "", "directory of kubelet.sock and the plugins' sockets")
	podResources := flag.String("pod-resources", "", "socket of the pod resources API")
	numaNodes := flag.Int("numa-nodes", 4, "number of NUMA nodes of the machine")
	logToStandardError()
	flag.Parse()
	reports := &reporter{encoder: json.NewEncoder(os.Stdout)}
	kubelet, err := newKubelet(*pluginDir, *podResources, *numaNodes, reports)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	serve(kubelet, reports, os.Stdin)
}

func logToStandardError() {
	flags := flag.NewFlagSet("klog", flag.ExitOnError)
	klog.InitFlags(flags)
	_ = flags.Set("v", logLevel)
	_ = flags.Set("logtostderr", "true")
}

// serve executes commands until standard input ends, as it does when the test process exits.
func serve(kubelet *kubelet, reports *reporter, input io.Reader) {
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, maxCommandBytes)
	for lines.Scan() {
		var received command
		if err := json.Unmarshal(lines.Bytes(), &received); err != nil {
			fmt.Fprintln(os.Stderr, "not a command:", err)
			os.Exit(1)
		}
		execute(kubelet, reports, received)
	}
}

// execute runs a command. Commands that call plugins, which may hang, run concurrently with those after them.
func execute(kubelet *kubelet, reports *reporter, received command) {
	reply := func(err error) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		reports.send(answer{received.ID, text})
	}
	switch received.Do {
	case "start":
		reply(kubelet.start(received.Pods))
	case "stop":
		reply(kubelet.stop())
	case "remove":
		kubelet.remove(received.Pod.UID)
		reply(nil)
	case "admit":
		kubelet.admissions <- func() { reply(kubelet.admit(received.Pod)) }
	case "start-container":
		go func() { reply(kubelet.startContainer(received.Pod.UID, received.Container)) }()
	case "capacity":
		reports.state("capacity")
		reply(nil)
	default:
		reply(fmt.Errorf("no command %q", received.Do))
	}
}
