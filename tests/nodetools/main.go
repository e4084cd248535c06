// Command nodetools runs the code with which node-problem-detector and Node Feature Discovery read the hub's files, for
// tests: nodetools monitor FILE, and nodetools labels DIRECTORY.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fail("usage: nodetools monitor FILE | labels DIRECTORY")
	}
	var err error
	switch os.Args[1] {
	case "monitor":
		err = monitor(os.Args[2], json.NewEncoder(os.Stdout))
	case "labels":
		err = labels(os.Args[2], json.NewEncoder(os.Stdout))
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
