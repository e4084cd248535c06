// The topology: NUMA nodes, which contain PCIe switches, which contain the devices.

import { deviceItem } from "./device.js";
import { h } from "./dom.js";

export function topology(devices) {
  return byNuma(devices).map(([name, inside]) => h("section", { key: `numa ${name}`, class: "numa" },
    h("h3", {}, name || "No NUMA node"), ...branches(bridgeTree(inside))));
}

function branches({ bridges, devices }) {
  return [
    bridges.length > 0 && h("div", { class: "switches" }, bridges.map(bridgeBox)),
    devices.length > 0 && deviceList(devices),
  ];
}

const deviceList = (devices) => h("ul", { class: "devices cards" }, devices.map(deviceItem));

function bridgeBox(bridge) {
  return h("section", { key: bridge.address, class: "switch" },
    h("h4", {}, "PCIe switch ", h("code", {}, bridge.address)), ...branches(bridge));
}

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

// The tree of bridges, without those that lead to only one bridge or device, which leaves the switches.
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
  return shortenedInside(root);
}

function shortenedInside(bridge) {
  const inside = [...bridge.bridges.values()].map(shortened).sort((a, b) => (a.address < b.address ? -1 : 1));
  const isPort = (each) => !each.bridges.length && each.devices.length === 1;
  return { ...bridge, bridges: inside.filter((each) => !isPort(each)),
    devices: [...bridge.devices, ...inside.filter(isPort).flatMap((port) => port.devices)] };
}

function shortened(bridge) {
  const { bridges, devices, ...rest } = shortenedInside(bridge);
  return !devices.length && bridges.length === 1 ? bridges[0] : { ...rest, bridges, devices };
}
