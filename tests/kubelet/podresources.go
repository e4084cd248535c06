package main

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/podresources/v1"
	"k8s.io/kubernetes/pkg/kubelet/apis/podresources"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
)

// servePodResources serves the kubelet's own implementation of the API on a socket, and returns a function to stop it.
func servePodResources(socket string, pods *podList, devices podresources.DevicesProvider) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(socket); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	api.RegisterPodResourcesListerServer(server, podresources.NewV1PodResourcesServer(
		context.Background(),
		podresources.PodResourcesProviders{
			Pods: pods, Devices: devices, Cpus: nothing{}, Memory: nothing{}, DynamicResources: nothing{},
		},
	))
	go func() { _ = server.Serve(listener) }()
	return func() {
		server.Stop()
		// Stop removes the socket only if Serve has begun.
		_ = listener.Close()
	}, nil
}

// nothing is a machine without CPUs, memory and dynamic resources to assign; its methods are in version_*.go.
type nothing struct{}

// listed converts devices as the kubelet's container manager does.
func listed(all devicemanager.ResourceDeviceInstances) []*api.ContainerDevices {
	var entries []*api.ContainerDevices
	for name, devices := range all {
		for id, device := range devices {
			if device.GetTopology() == nil {
				entries = append(entries, &api.ContainerDevices{ResourceName: name, DeviceIds: []string{id}})
			}
			for _, node := range device.GetTopology().GetNodes() {
				topology := &api.TopologyInfo{Nodes: []*api.NUMANode{{ID: node.GetID()}}}
				entries = append(entries, &api.ContainerDevices{ResourceName: name, DeviceIds: []string{id}, Topology: topology})
			}
		}
	}
	return entries
}
