//go:build kubelet_1_37

package main

import (
	"context"
	"errors"
	_ "unsafe" // for linkname

	cadvisor "github.com/google/cadvisor/lib/model"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
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
func newManagerImpl(klog.Logger, string, []cadvisor.Node, topologymanager.Store) (*devicemanager.ManagerImpl, error)

func newDeviceManager(socket string, nodes int, topology topologymanager.Manager) (*devicemanager.ManagerImpl, error) {
	return newManagerImpl(klog.Background(), socket, machine(nodes), topology)
}

func newTopologyManager(nodes int) (topologymanager.Manager, error) {
	return topologymanager.NewManager(klog.Background(), machine(nodes), topologyPolicy, topologyScope, nil)
}

func addHintProvider(topology topologymanager.Manager, devices *devicemanager.ManagerImpl) {
	topology.AddHintProvider(klog.Background(), devices)
}

func newPluginServer(socket string, handler *recorder) (plugin.Server, error) {
	return plugin.NewServer(klog.Background(), socket, handler, handler)
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
	return devices.Start(klog.Background(), pods, ready, containermap.NewContainerMap(), sets.New[string]())
}

func stopDevices(devices *devicemanager.ManagerImpl) error { return devices.Stop(klog.Background()) }

func updateAllocated(devices *devicemanager.ManagerImpl) {
	devices.UpdateAllocatedDevices(klog.Background())
}

func capacityOf(devices *devicemanager.ManagerImpl) (v1.ResourceList, v1.ResourceList) {
	capacity, allocatable, _ := devices.GetCapacity(klog.Background())
	return capacity, allocatable
}

func admitPod(topology topologymanager.Manager, pod *v1.Pod) error {
	attributes := lifecycle.PodAdmitAttributes{Pod: pod, Operation: lifecycle.AddOperation}
	if result := topology.Admit(context.Background(), &attributes); !result.Admit {
		return errors.New(result.Message)
	}
	return nil
}

func prepare(devices *devicemanager.ManagerImpl, pod *v1.Pod, container *v1.Container) error {
	_, err := devices.GetDeviceRunContainerOptions(context.Background(), pod, container)
	return err
}

// recorder is a device manager that reports what plugins do.
type recorder struct {
	*devicemanager.ManagerImpl
	reports *reporter
	order   *order
}

// PluginConnected gives the plugin's devices an order.
func (r *recorder) PluginConnected(ctx context.Context, resource string, connected plugin.DevicePlugin) error {
	return r.ManagerImpl.PluginConnected(ctx, resource, r.order.of(connected))
}

// PluginDisconnected reports that a plugin has gone.
func (r *recorder) PluginDisconnected(logger klog.Logger, resource, socket string) {
	r.ManagerImpl.PluginDisconnected(logger, resource, socket)
	r.reports.happened(event{Event: "disconnected", Resource: resource})
}

// PluginListAndWatchReceiver reports a list.
func (r *recorder) PluginListAndWatchReceiver(logger klog.Logger, resource string, list *api.ListAndWatchResponse) {
	r.order.listed(resource, list.Devices)
	r.reports.listed(resource, list, func() { r.ManagerImpl.PluginListAndWatchReceiver(logger, resource, list) })
}

// provider gives the devices to the pod resources API.
type provider struct{ *devicemanager.ManagerImpl }

func (p provider) GetDevices(pod, container string) []*podresources.ContainerDevices {
	return listed(p.ManagerImpl.GetDevices(pod, container))
}

func (p provider) GetAllocatableDevices(logger klog.Logger) []*podresources.ContainerDevices {
	return listed(p.ManagerImpl.GetAllocatableDevices(logger))
}

func (nothing) GetCPUs(*v1.Pod, *v1.Container) []int64 { return nil }
func (nothing) GetPodCPUs(string) []int64              { return nil }
func (nothing) GetAllocatableCPUs() []int64            { return nil }

func (nothing) GetMemory(klog.Logger, *v1.Pod, *v1.Container) []*podresources.ContainerMemory {
	return nil
}
func (nothing) GetPodMemory(klog.Logger, string) []*podresources.ContainerMemory { return nil }
func (nothing) GetAllocatableMemory(klog.Logger) []*podresources.ContainerMemory { return nil }

func (nothing) GetDynamicResources(klog.Logger, *v1.Pod, *v1.Container) []*podresources.DynamicResource {
	return nil
}
