package main

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/cm/dra"
	"k8s.io/kubernetes/pkg/kubelet/config"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager"
)

const (
	registryDirectory = "plugins_registry"
	draPlugin         = "DRAPlugin"
	queriesPerSecond  = 1000
	maxEvents         = 1000
)

// options are the settings of a kubelet; where one is zero, the kubelet's own default applies.
type options struct {
	root, server, authority, token, node                      string
	reconcilePeriod, wipingDelay, callTimeout, registryPeriod time.Duration
}

// kubelet has the parts of a kubelet that DRA drivers need. All of them are Kubernetes' own code.
type kubelet struct {
	options options
	client  kubernetes.Interface
	manager *dra.Manager
	plugins pluginmanager.PluginManager

	mutex sync.Mutex
	pods  map[string]*v1.Pod
}

func newKubelet(options options) (*kubelet, error) {
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: options.server, BearerToken: options.token, QPS: queriesPerSecond, Burst: queriesPerSecond,
		TLSClientConfig: rest.TLSClientConfig{CAFile: options.authority},
		// A kubelet uses protobuf, which the fake API server does not support.
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	})
	if err != nil {
		return nil, err
	}
	manager, err := dra.NewManager(klog.Background(), client, options.root)
	if err != nil {
		return nil, err
	}
	set(manager, options.reconcilePeriod, "reconcilePeriod")
	plugins := pluginmanager.NewPluginManager(
		filepath.Join(options.root, registryDirectory), record.NewFakeRecorder(maxEvents),
	)
	set(plugins, options.registryPeriod, "reconciler", "loopSleepDuration")
	return &kubelet{
		options: options, client: client, manager: manager, plugins: plugins, pods: make(map[string]*v1.Pod),
	}, nil
}

// start starts the kubelet with these pods bound to the node.
func (k *kubelet) start(ctx context.Context, pods []pod) error {
	for _, each := range pods {
		k.add(each)
	}
	ready := config.NewSourcesReady(func(sets.Set[string]) bool { return true })
	if err := k.manager.Start(ctx, k.activePods, k.getNode, ready); err != nil {
		return err
	}
	set(k.manager, k.options.wipingDelay, "draPlugins", "wipingDelay")
	k.plugins.AddHandler(draPlugin, handler{k.manager.GetWatcherHandler(), k.options.callTimeout})
	go k.plugins.Run(ctx, ready, ctx.Done())
	return nil
}

// prepare prepares the claims of a pod, as a kubelet does before it starts the pod's sandbox.
func (k *kubelet) prepare(ctx context.Context, wanted pod) error {
	return k.manager.PrepareResources(ctx, k.add(wanted))
}

// unprepare unprepares the claims of a pod whose containers have exited, and removes the pod if that succeeds.
func (k *kubelet) unprepare(ctx context.Context, ended pod) error {
	err := k.manager.UnprepareResources(ctx, ended.spec())
	if err == nil {
		k.forget(ended.UID)
	}
	return err
}

// forget removes a pod without unpreparing its claims, as a kubelet does after a forced deletion.
func (k *kubelet) forget(uid string) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	delete(k.pods, uid)
}

// cdiDevices returns the names of the CDI devices that a container gets.
func (k *kubelet) cdiDevices(owner pod, container string) ([]string, error) {
	spec := owner.spec()
	for number := range spec.Spec.Containers {
		if spec.Spec.Containers[number].Name != container {
			continue
		}
		found, err := k.manager.GetResources(spec, &spec.Spec.Containers[number])
		if err != nil {
			return nil, err
		}
		names := make([]string, 0, len(found.CDIDevices))
		for _, each := range found.CDIDevices {
			names = append(names, each.Name)
		}
		return names, nil
	}
	return nil, nil
}

// health returns the health of a pod's devices, by container, as in the pod's status.
func (k *kubelet) health(owner pod) map[string][]v1.ResourceStatus {
	spec, status := owner.spec(), v1.PodStatus{}
	for _, container := range spec.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, v1.ContainerStatus{Name: container.Name})
	}
	updateHealth(k.manager, spec, &status)
	found := make(map[string][]v1.ResourceStatus)
	for _, container := range status.ContainerStatuses {
		found[container.Name] = container.AllocatedResourcesStatus
	}
	return found
}

func (k *kubelet) add(wanted pod) *v1.Pod {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	spec := wanted.spec()
	k.pods[wanted.UID] = spec
	return spec
}

func (k *kubelet) activePods() []*v1.Pod {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	active := make([]*v1.Pod, 0, len(k.pods))
	for _, each := range k.pods {
		active = append(active, each)
	}
	return active
}

func (k *kubelet) getNode(ctx context.Context) (*v1.Node, error) {
	return k.client.CoreV1().Nodes().Get(ctx, k.options.node, metav1.GetOptions{})
}
