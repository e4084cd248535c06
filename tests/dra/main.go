// Command dra runs the DRA manager and the plugin manager of a real kubelet, without the rest of it, for tests.
//
// Tests drive it with JSON, one object per line: commands on standard input, responses on standard output.
// tests/harness/realdra.py is the other side. Each build contains one version of Kubernetes; the files named
// version_*.go cover the differences between the versions' interfaces.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"

	"k8s.io/klog/v2"
)

const (
	maxCommandBytes = 16 * 1024 * 1024
	logLevel        = "4"
)

// A command of the test: "start" with the Pods on the node, or a command for one Pod.
type command struct {
	ID        int    `json:"id"`
	Do        string `json:"do"`
	Pods      []pod  `json:"pods"`
	Pod       pod    `json:"pod"`
	Container string `json:"container"`
}

// An event: the instances of each driver in registration order, sent as soon as they have changed.
type event struct {
	Event     string                `json:"event"`
	Instances map[string][]instance `json:"instances"`
}

// A response to the command with the same ID. Error is empty if it succeeded.
type answer struct {
	ID     int    `json:"id"`
	Error  string `json:"error"`
	Result any    `json:"result"`
}

func main() {
	var options options
	flag.StringVar(&options.root, "root", "", "the kubelet's root directory")
	flag.StringVar(&options.server, "server", "", "URL of the API server")
	flag.StringVar(&options.authority, "authority", "", "file with the certificate of the API server; empty without TLS")
	flag.StringVar(&options.token, "token", "", "bearer token for the API server")
	flag.StringVar(&options.node, "node", "", "name of the node")
	flag.DurationVar(&options.reconcilePeriod, "reconcile-period", 0, "time between checks for pods that are gone")
	flag.DurationVar(&options.wipingDelay, "wiping-delay", 0, "time until the slices of a lost driver are deleted")
	flag.DurationVar(&options.callTimeout, "call-timeout", 0, "time that a driver has for a call")
	flag.DurationVar(&options.registryPeriod, "registry-period", 0, "time between checks for new sockets of drivers")
	logToStandardError()
	flag.Parse()
	kubelet, err := newKubelet(options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	serve(kubelet, os.Stdin)
}

func logToStandardError() {
	flags := flag.NewFlagSet("klog", flag.ExitOnError)
	klog.InitFlags(flags)
	_ = flags.Set("v", logLevel)
	_ = flags.Set("logtostderr", "true")
}

// serve executes commands, in parallel as a kubelet does for its pods, until standard input ends, as it does when the
// test process exits.
func serve(kubelet *kubelet, input io.Reader) {
	output := &output{encoder: json.NewEncoder(os.Stdout)}
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, maxCommandBytes)
	for lines.Scan() {
		var received command
		if err := json.Unmarshal(lines.Bytes(), &received); err != nil {
			fmt.Fprintln(os.Stderr, "not a command:", err)
			os.Exit(1)
		}
		go func() {
			result, err := execute(context.Background(), kubelet, received)
			reply := answer{ID: received.ID, Result: result}
			if err != nil {
				reply.Error = err.Error()
			}
			output.send(reply)
			if received.Do == "start" {
				go kubelet.reportInstances(output)
			}
		}()
	}
}

// output writes messages, one at a time.
type output struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func (o *output) send(message any) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if err := o.encoder.Encode(message); err != nil {
		// The test process has exited.
		os.Exit(1)
	}
}

func execute(ctx context.Context, kubelet *kubelet, received command) (any, error) {
	switch received.Do {
	case "start":
		return nil, kubelet.start(ctx, received.Pods)
	case "prepare":
		return nil, kubelet.prepare(ctx, received.Pod)
	case "unprepare":
		return nil, kubelet.unprepare(ctx, received.Pod)
	case "forget":
		kubelet.forget(received.Pod.UID)
		return nil, nil
	case "cdi-devices":
		return kubelet.cdiDevices(received.Pod, received.Container)
	case "health":
		return kubelet.health(received.Pod), nil
	default:
		return nil, fmt.Errorf("no command %q", received.Do)
	}
}
