package main

import (
	"reflect"
	"sync"
	"time"
	"unsafe"
)

const instancesPeriod = 5 * time.Millisecond

// An instance of a driver that the kubelet knows.
type instance struct {
	Endpoint  string `json:"endpoint"`
	Connected bool   `json:"connected"`
}

// reportInstances reports the instances of all drivers whenever they change; Kubernetes offers no notification.
func (k *kubelet) reportInstances(output *output) {
	last := map[string][]instance{}
	for {
		if found := k.instances(); !reflect.DeepEqual(found, last) {
			output.send(event{"instances", found})
			last = found
		}
		time.Sleep(instancesPeriod)
	}
}

// instances returns the instances of all drivers in registration order.
func (k *kubelet) instances() map[string][]instance {
	plugins := field(k.manager, "draPlugins")
	mutex := accessible(field(plugins, "mutex")).Addr().Interface().(*sync.RWMutex)
	mutex.RLock()
	defer mutex.RUnlock()
	found := make(map[string][]instance)
	for _, driver := range field(plugins, "store").MapKeys() {
		for _, each := range items(field(plugins, "store").MapIndex(driver)) {
			endpoint, connected := field(each, "DRAPlugin", "endpoint"), field(each, "connected")
			found[driver.String()] = append(found[driver.String()], instance{endpoint.String(), connected.Bool()})
		}
	}
	return found
}

// set sets an unexported time field of a Kubernetes struct, unless the time is zero; path lists the field names that
// lead to it.
func set(owner any, value time.Duration, path ...string) {
	if value != 0 {
		accessible(field(owner, path...)).SetInt(int64(value))
	}
}

// field returns an unexported field of a Kubernetes struct; path lists the field names that lead to it.
func field(owner any, path ...string) reflect.Value {
	found, isValue := owner.(reflect.Value)
	if !isValue {
		found = reflect.ValueOf(owner)
	}
	for _, name := range path {
		for found.Kind() == reflect.Pointer || found.Kind() == reflect.Interface {
			found = found.Elem()
		}
		found = found.FieldByName(name)
	}
	return found
}

func accessible(field reflect.Value) reflect.Value {
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
}

func items(list reflect.Value) []reflect.Value {
	found := make([]reflect.Value, list.Len())
	for index := range found {
		found[index] = list.Index(index)
	}
	return found
}
