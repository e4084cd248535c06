"use strict";
// From the devices of all plugins to what is where: NUMA nodes, in them PCIe switches, in those physical devices.

// One entry for each physical device, with all that is advertised of it.
function physicalDevices(plugins) {
  const found = new Map();
  for (const plugin of plugins) {
    for (const resource of plugin.resources) {
      for (const device of resource.devices) {
        const key = `${plugin.name} ${device.physical || `${resource.name} ${device.id}`}`;
        if (!found.has(key)) {
          found.set(key, { plugin: plugin.name, first: device, shares: [], resources: new Set() });
        }
        found.get(key).shares.push(device);
        found.get(key).resources.add(resource.name);
      }
    }
  }
  return [...found.values()];
}

// A share of a split device hangs where the device hangs: all of one PCI address are one place.
function byNuma(devices) {
  const nodes = new Map();
  for (const device of devices) {
    const numa = device.first.numa || [];
    const name = numa.length === 1 ? `NUMA node ${numa[0]}` : numa.length ? `NUMA nodes ${numa.join(", ")}` : "";
    if (!nodes.has(name)) nodes.set(name, []);
    nodes.get(name).push(device);
  }
  const unknown = (name) => (name ? 0 : 1);
  return [...nodes].sort(([a], [b]) => unknown(a) - unknown(b) || a.localeCompare(b, undefined, { numeric: true }));
}

// The tree of bridges, without those that lead to one thing only: what is left are switches.
function bridgeTree(devices) {
  const root = { address: "", bridges: new Map(), devices: [] };
  for (const device of devices) {
    let at = root;
    for (const address of device.first.upstream || []) {
      if (!at.bridges.has(address)) at.bridges.set(address, { address, bridges: new Map(), devices: [] });
      at = at.bridges.get(address);
    }
    at.devices.push(device);
  }
  return { ...root, bridges: [...root.bridges.values()].map(straightened) };
}

function straightened(bridge) {
  const bridges = [...bridge.bridges.values()].map(straightened);
  if (!bridge.devices.length && bridges.length === 1) return bridges[0];
  return { ...bridge, bridges };
}
