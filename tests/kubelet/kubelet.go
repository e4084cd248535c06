package main

import (
	"errors"
	"path/filepath"
	"reflect"
	"unsafe"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
)

const (
	socketName     = "kubelet.sock"
	topologyPolicy = topologymanager.PolicyBestEffort
	topologyScope  = "container"
	maxWaiting     = 10_000
)

// kubelet has the parts of a kubelet that device plugins and their pods need: the device manager, the topology manager
// and the pod resources API. All of them are Kubernetes' own code.
type kubelet struct {
	podResourcesSocket string
	devices            *devicemanager.ManagerImpl
	topology           topologymanager.Manager
	pods               podList
	stopPodResources   func()
	// A kubelet admits one pod at a time.
	admissions chan func()
}

func newKubelet(pluginDir, podResourcesSocket string, numaNodes int, reports *reporter) (*kubelet, error) {
	socket := filepath.Join(pluginDir, socketName)
	topology, err := newTopologyManager(numaNodes)
	if err != nil {
		return nil, err
	}
	devices, err := newDeviceManager(socket, numaNodes, topology)
	if err != nil {
		return nil, err
	}
	addHintProvider(topology, devices)
	server, err := newPluginServer(socket, &recorder{devices, reports, newOrder()})
	if err != nil {
		return nil, err
	}
	setServer(devices, server)
	reports.observe(devices)
	reportRegistrations(reports)
	created := &kubelet{
		podResourcesSocket: podResourcesSocket, devices: devices, topology: topology,
		admissions: make(chan func(), maxWaiting),
	}
	created.pods.replace(nil)
	go func() {
		for admit := range created.admissions {
			admit()
		}
	}()
	return created, nil
}

// start starts the kubelet with these pods bound to the node.
func (k *kubelet) start(pods []pod) error {
	k.pods.replace(pods)
	stop, err := servePodResources(k.podResourcesSocket, &k.pods, provider{k.devices})
	if err != nil {
		return err
	}
	k.stopPodResources = stop
	return startDevices(k.devices, k.pods.GetActivePods)
}

// stop ends all connections and removes the sockets.
func (k *kubelet) stop() error {
	if k.stopPodResources != nil {
		k.stopPodResources()
	}
	return stopDevices(k.devices)
}

// remove removes a pod and frees its devices.
func (k *kubelet) remove(uid string) {
	k.pods.remove(types.UID(uid))
	updateAllocated(k.devices)
}

// admit lets the topology manager choose NUMA nodes and the device manager allocate devices, as for a new pod.
func (k *kubelet) admit(wanted pod) error {
	spec := wanted.spec()
	// The kubelet knows a pod before it admits it.
	k.pods.add(spec)
	if rejected := admitPod(k.topology, spec); rejected != nil {
		k.pods.remove(spec.UID)
		updateAllocated(k.devices)
		return rejected
	}
	return nil
}

// startContainer gets the container's options, as a kubelet does before each start of a container.
func (k *kubelet) startContainer(uid, name string) error {
	spec, exists := k.pods.get(types.UID(uid))
	if !exists {
		return errors.New("there is no pod " + uid)
	}
	for number := range spec.Spec.Containers {
		if spec.Spec.Containers[number].Name == name {
			return prepare(k.devices, spec, &spec.Spec.Containers[number])
		}
	}
	return errors.New("pod " + uid + " has no container " + name)
}

// counts returns the capacity and the allocatable devices of each resource.
func counts(devices *devicemanager.ManagerImpl) map[string][2]int64 {
	capacity, allocatable := capacityOf(devices)
	found := make(map[string][2]int64, len(capacity))
	for name, quantity := range capacity {
		found[string(name)] = [2]int64{quantity.Value(), amount(allocatable, name)}
	}
	return found
}

func amount(list v1.ResourceList, name v1.ResourceName) int64 {
	quantity := list[name]
	return quantity.Value()
}

// setServer replaces the device manager's registration server with one that reports what plugins do. The manager's own
// tests do the same, from inside its package.
func setServer(devices *devicemanager.ManagerImpl, server any) {
	field := reflect.ValueOf(devices).Elem().FieldByName("server")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(server))
}
