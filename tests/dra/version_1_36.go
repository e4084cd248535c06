//go:build dra_1_36

package main

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/kubelet/cm/dra"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager/cache"
)

// handler registers drivers with a timeout for their calls.
type handler struct {
	cache.PluginHandler
	callTimeout time.Duration
}

// RegisterPlugin adds the timeout, unless it is zero.
func (h handler) RegisterPlugin(name, endpoint string, versions []string, timeout *time.Duration) error {
	if h.callTimeout != 0 {
		timeout = &h.callTimeout
	}
	return h.PluginHandler.RegisterPlugin(name, endpoint, versions, timeout)
}

func updateHealth(manager *dra.Manager, pod *v1.Pod, status *v1.PodStatus) {
	manager.UpdateAllocatedResourcesStatus(pod, status)
}
