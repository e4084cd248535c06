package main

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	plugin "k8s.io/kubernetes/pkg/kubelet/cm/devicemanager/plugin/v1beta1"
)

// order makes choices deterministic, so that a test can name devices. Where a kubelet would take any of several
// devices, or list them in any order, it gets the order of the plugin's list, as if each plugin had a preference.
// Devices near a NUMA node come first, as in a kubelet. Everything else passes unchanged.
type order struct {
	mutex     sync.Mutex
	positions map[string]map[string]int
}

func newOrder() *order { return &order{positions: make(map[string]map[string]int)} }

// listed remembers the order of a plugin's list.
func (o *order) listed(resource string, devices []*api.Device) {
	positions := make(map[string]int)
	for index, each := range devices {
		if _, known := positions[each.ID]; known || each.Health != api.Healthy {
			continue
		}
		if len(each.GetTopology().GetNodes()) == 0 {
			index += len(devices)
		}
		positions[each.ID] = index
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.positions[resource] = positions
}

// sorted returns the devices in the order of the list; those that are not in it come last, by name.
func (o *order) sorted(resource string, ids []string) []string {
	o.mutex.Lock()
	positions := o.positions[resource]
	o.mutex.Unlock()
	position := func(id string) int {
		if found, known := positions[id]; known {
			return found
		}
		return math.MaxInt
	}
	found := slices.Clone(ids)
	slices.SortFunc(found, func(one, other string) int {
		return cmp.Or(cmp.Compare(position(one), position(other)), cmp.Compare(one, other))
	})
	return found
}

// orderedPlugin is a plugin whose devices have an order.
type orderedPlugin struct {
	plugin.DevicePlugin
	client *orderedClient
}

func (o *order) of(found plugin.DevicePlugin) plugin.DevicePlugin {
	return orderedPlugin{found, &orderedClient{DevicePluginClient: found.API(), order: o, resource: found.Resource()}}
}

// API returns the client.
func (p orderedPlugin) API() api.DevicePluginClient { return p.client }

type orderedClient struct {
	api.DevicePluginClient
	order    *order
	resource string
	prefers  bool
}

// GetDevicePluginOptions announces a preference for every plugin.
func (c *orderedClient) GetDevicePluginOptions(
	ctx context.Context, request *api.Empty, options ...grpc.CallOption,
) (*api.DevicePluginOptions, error) {
	answer, err := c.DevicePluginClient.GetDevicePluginOptions(ctx, request, options...)
	if err != nil {
		return nil, err
	}
	c.prefers = answer.GetPreferredAllocationAvailable
	return &api.DevicePluginOptions{
		PreStartRequired: answer.PreStartRequired, GetPreferredAllocationAvailable: true,
	}, nil
}

// GetPreferredAllocation orders the devices, and completes the plugin's response, or answers for a plugin without a
// preference.
func (c *orderedClient) GetPreferredAllocation(
	ctx context.Context, request *api.PreferredAllocationRequest, options ...grpc.CallOption,
) (*api.PreferredAllocationResponse, error) {
	asked := request.ContainerRequests[0]
	asked.AvailableDeviceIDs = c.order.sorted(c.resource, asked.AvailableDeviceIDs)
	asked.MustIncludeDeviceIDs = c.order.sorted(c.resource, asked.MustIncludeDeviceIDs)
	var preferred []string
	if c.prefers {
		answer, err := c.DevicePluginClient.GetPreferredAllocation(ctx, request, options...)
		if err != nil {
			return nil, err
		}
		if len(answer.ContainerResponses) > 0 {
			preferred = answer.ContainerResponses[0].DeviceIDs
		}
	}
	chosen := slices.Clone(asked.MustIncludeDeviceIDs)
	for _, id := range append(preferred, asked.AvailableDeviceIDs...) {
		if len(chosen) < int(asked.AllocationSize) && slices.Contains(asked.AvailableDeviceIDs, id) && !slices.Contains(chosen, id) {
			chosen = append(chosen, id)
		}
	}
	return &api.PreferredAllocationResponse{
		ContainerResponses: []*api.ContainerPreferredAllocationResponse{{DeviceIDs: chosen}},
	}, nil
}

// Allocate orders the devices.
func (c *orderedClient) Allocate(
	ctx context.Context, request *api.AllocateRequest, options ...grpc.CallOption,
) (*api.AllocateResponse, error) {
	for _, each := range request.ContainerRequests {
		each.DevicesIds = c.order.sorted(c.resource, each.DevicesIds)
	}
	return c.DevicePluginClient.Allocate(ctx, request, options...)
}

// PreStartContainer orders the devices.
func (c *orderedClient) PreStartContainer(
	ctx context.Context, request *api.PreStartContainerRequest, options ...grpc.CallOption,
) (*api.PreStartContainerResponse, error) {
	request.DevicesIds = c.order.sorted(c.resource, request.DevicesIds)
	return c.DevicePluginClient.PreStartContainer(ctx, request, options...)
}
