package main

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A pod of the test: its claims, and which of them its containers use.
type pod struct {
	UID        string      `json:"uid"`
	Name       string      `json:"name"`
	Namespace  string      `json:"namespace"`
	Claims     []podClaim  `json:"claims"`
	Containers []container `json:"containers"`
	Extended   *extended   `json:"extended"`
}

// A podClaim is a claim under the name that the pod gives it.
type podClaim struct {
	Name  string `json:"name"`
	Claim string `json:"claim"`
}

// A container with the claims that it uses, and with its extended resources.
type container struct {
	Name      string         `json:"name"`
	Claims    []usedClaim    `json:"claims"`
	Resources map[string]int `json:"resources"`
}

// A usedClaim is all of a claim, or one request of it.
type usedClaim struct {
	Name    string `json:"name"`
	Request string `json:"request"`
}

// extended is the claim that the scheduler has made for extended resources.
type extended struct {
	Claim    string    `json:"claim"`
	Mappings []mapping `json:"mappings"`
}

type mapping struct {
	Container string `json:"container"`
	Resource  string `json:"resource"`
	Request   string `json:"request"`
}

// spec returns the pod in the form that the API has.
func (p pod) spec() *v1.Pod {
	made := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, UID: types.UID(p.UID)}}
	for _, each := range p.Claims {
		name := each.Claim
		made.Spec.ResourceClaims = append(
			made.Spec.ResourceClaims, v1.PodResourceClaim{Name: each.Name, ResourceClaimName: &name},
		)
	}
	for _, each := range p.Containers {
		made.Spec.Containers = append(made.Spec.Containers, each.spec())
	}
	if p.Extended != nil {
		made.Status.ExtendedResourceClaimStatus = p.Extended.status()
	}
	return made
}

func (c container) spec() v1.Container {
	made := v1.Container{Name: c.Name, Resources: v1.ResourceRequirements{Requests: v1.ResourceList{}}}
	for _, each := range c.Claims {
		made.Resources.Claims = append(made.Resources.Claims, v1.ResourceClaim{Name: each.Name, Request: each.Request})
	}
	for name, count := range c.Resources {
		made.Resources.Requests[v1.ResourceName(name)] = *resource.NewQuantity(int64(count), resource.DecimalSI)
	}
	return made
}

func (e extended) status() *v1.PodExtendedResourceClaimStatus {
	made := &v1.PodExtendedResourceClaimStatus{ResourceClaimName: e.Claim}
	for _, each := range e.Mappings {
		made.RequestMappings = append(made.RequestMappings, v1.ContainerExtendedResourceRequest{
			ContainerName: each.Container, ResourceName: each.Resource, RequestName: each.Request,
		})
	}
	return made
}
