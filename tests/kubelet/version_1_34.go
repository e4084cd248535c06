//go:build kubelet_1_34

package main

import (
	"errors"
	_ "unsafe" // for linkname

	cadvisor "github.com/google/cadvisor/info/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	plugin "k8s.io/kubernetes/pkg/kubelet/cm/devicemanager/plugin/v1beta1"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
	"k8s.io/kubernetes/pkg/kubelet/config"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
)

// newManagerImpl is the device manager's constructor, with a path to kubelet.sock that the public one does not accept.
//
//go:linkname newManagerImpl k8s.io/kubernetes/pkg/kubelet/cm/devicemanager.newManagerImpl
func newManagerImpl(string, []cadvisor.Node, topologymanager.Store) (*devicemanager.ManagerImpl, error)

func newDeviceManager(socket string, nodes int, topology topologymanager.Manager) (*devicemanager.ManagerImpl, error) {
	return newManagerImpl(socket, machine(nodes), topology)
}

func newTopologyManager(nodes int) (topologymanager.Manager, error) {
	return topologymanager.NewManager(machine(nodes), topologyPolicy, topologyScope, nil)
}

func addHintProvider(topology topologymanager.Manager, devices *devicemanager.ManagerImpl) {
	topology.AddHintProvider(devices)
}

func newPluginServer(socket string, handler *recorder) (plugin.Server, error) {
	return plugin.NewServer(socket, handler, handler)
}

func machine(nodes int) []cadvisor.Node {
	all := make([]cadvisor.Node, nodes)
	for number := range all {
		all[number].Id = number
	}
	return all
}

func startDevices(devices *devicemanager.ManagerImpl, pods devicemanager.ActivePodsFunc) error {
	ready := config.NewSourcesReady(func(sets.Set[string]) bool { return true })
	return devices.Start(pods, ready, containermap.NewContainerMap(), sets.New[string]())
}

func stopDevices(devices *devicemanager.ManagerImpl) error { return devices.Stop() }

func updateAllocated(devices *devicemanager.ManagerImpl) { devices.UpdateAllocatedDevices() }

func capacityOf(devices *devicemanager.ManagerImpl) (v1.ResourceList, v1.ResourceList) {
	capacity, allocatable, _ := devices.GetCapacity()
	return capacity, allocatable
}

func admitPod(topology topologymanager.Manager, pod *v1.Pod) error {
	if result := topology.Admit(&lifecycle.PodAdmitAttributes{Pod: pod}); !result.Admit {
		return errors.New(result.Message)
	}
	return nil
}

func prepare(devices *devicemanager.ManagerImpl, pod *v1.Pod, container *v1.Container) error {
	_, err := devices.GetDeviceRunContainerOptions(pod, container)
	return err
}

// recorder is a device manager that reports what plugins do.
type recorder struct {
	*devicemanager.ManagerImpl
	reports *reporter
	order   *order
}

// PluginConnected gives the plugin's devices an order.
func (r *recorder) PluginConnected(resource string, connected plugin.DevicePlugin) error {
	return r.ManagerImpl.PluginConnected(resource, r.order.of(connected))
}

// PluginDisconnected reports that a plugin has gone.
func (r *recorder) PluginDisconnected(resource string) {
	r.ManagerImpl.PluginDisconnected(resource)
	r.reports.happened(event{Event: "disconnected", Resource: resource})
}

// PluginListAndWatchReceiver reports a list.
func (r *recorder) PluginListAndWatchReceiver(resource string, list *api.ListAndWatchResponse) {
	r.order.listed(resource, list.Devices)
	r.reports.listed(resource, list, func() { r.ManagerImpl.PluginListAndWatchReceiver(resource, list) })
}

// provider gives the devices to the pod resources API.
type provider struct{ *devicemanager.ManagerImpl }

func (p provider) GetDevices(pod, container string) []*podresources.ContainerDevices {
	return listed(p.ManagerImpl.GetDevices(pod, container))
}

func (p provider) GetAllocatableDevices() []*podresources.ContainerDevices {
	return listed(p.ManagerImpl.GetAllocatableDevices())
}

func (nothing) GetCPUs(string, string) []int64                           { return nil }
func (nothing) GetAllocatableCPUs() []int64                              { return nil }
func (nothing) GetMemory(string, string) []*podresources.ContainerMemory { return nil }
func (nothing) GetAllocatableMemory() []*podresources.ContainerMemory    { return nil }
func (nothing) GetDynamicResources(*v1.Pod, *v1.Container) []*podresources.DynamicResource {
	return nil
}
