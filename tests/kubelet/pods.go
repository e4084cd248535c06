package main

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A pod as the test describes it.
type pod struct {
	UID        string      `json:"uid"`
	Name       string      `json:"name"`
	Namespace  string      `json:"namespace"`
	Containers []container `json:"containers"`
}

// A container and, by resource, the number of requested devices.
type container struct {
	Name   string           `json:"name"`
	Limits map[string]int64 `json:"limits"`
}

// spec returns the pod as the API server would send it.
func (p pod) spec() *v1.Pod {
	found := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, UID: types.UID(p.UID)}}
	for _, each := range p.Containers {
		limits := v1.ResourceList{}
		for name, count := range each.Limits {
			limits[v1.ResourceName(name)] = *resource.NewQuantity(count, resource.DecimalSI)
		}
		requirements := v1.ResourceRequirements{Limits: limits, Requests: limits}
		found.Spec.Containers = append(found.Spec.Containers, v1.Container{Name: each.Name, Resources: requirements})
	}
	return found
}

// podList holds the pods of the node: what the kubelet knows from the API server.
type podList struct {
	mutex sync.Mutex
	pods  map[types.UID]*v1.Pod
}

func (l *podList) replace(pods []pod) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.pods = make(map[types.UID]*v1.Pod)
	for _, each := range pods {
		l.pods[types.UID(each.UID)] = each.spec()
	}
}

func (l *podList) add(added *v1.Pod) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.pods[added.UID] = added
}

func (l *podList) remove(uid types.UID) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.pods, uid)
}

func (l *podList) get(uid types.UID) (*v1.Pod, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	found, exists := l.pods[uid]
	return found, exists
}

// GetActivePods returns all pods: each leaves the list when it ends.
func (l *podList) GetActivePods() []*v1.Pod {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	all := make([]*v1.Pod, 0, len(l.pods))
	for _, each := range l.pods {
		all = append(all, each)
	}
	return all
}

// GetPods returns all pods.
func (l *podList) GetPods() []*v1.Pod { return l.GetActivePods() }

// GetPodByName returns the pod with this name.
func (l *podList) GetPodByName(namespace, name string) (*v1.Pod, bool) {
	for _, each := range l.GetPods() {
		if each.Namespace == namespace && each.Name == name {
			return each, true
		}
	}
	return nil, false
}
