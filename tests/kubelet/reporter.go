package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"google.golang.org/protobuf/proto"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
)

// An event, with the state of the device manager after it.
type event struct {
	Event    string              `json:"event"`
	Resource string              `json:"resource"`
	Endpoint string              `json:"endpoint"`
	Error    string              `json:"error"`
	Size     int                 `json:"size"`
	Devices  []device            `json:"devices"`
	Capacity map[string][2]int64 `json:"capacity"`
}

// A device in a plugin's list.
type device struct {
	ID     string  `json:"id"`
	Health string  `json:"health"`
	NUMA   []int64 `json:"numa"`
}

// reporter writes responses and events to standard output, in the order in which they happened.
type reporter struct {
	mutex   sync.Mutex
	encoder *json.Encoder
	devices *devicemanager.ManagerImpl
}

func (r *reporter) observe(devices *devicemanager.ManagerImpl) { r.devices = devices }

func (r *reporter) send(message any) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.write(message)
}

// happened reports an event.
func (r *reporter) happened(what event) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.report(what)
}

func (r *reporter) state(name string) { r.happened(event{Event: name}) }

// listed reports a list once the device manager has stored it. No other report has the numbers of the list before that.
func (r *reporter) listed(resource string, list *api.ListAndWatchResponse, store func()) {
	devices := make([]device, 0, len(list.Devices))
	for _, each := range list.Devices {
		nodes := []int64{}
		for _, node := range each.GetTopology().GetNodes() {
			nodes = append(nodes, node.ID)
		}
		devices = append(devices, device{each.ID, each.Health, nodes})
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	store()
	r.report(event{Event: "list", Resource: resource, Size: proto.Size(list), Devices: devices})
}

func (r *reporter) report(what event) {
	what.Capacity = counts(r.devices)
	r.write(what)
}

func (r *reporter) write(message any) {
	if err := r.encoder.Encode(message); err != nil {
		// The test process has exited.
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
