// Converts the status to one entry for each physical device, the worst first, and searches the entries.

import { quoted } from "./words.js";

// The states, from the worst to those that need no attention.
export const STATES = ["removed while in use", "unhealthy", "recovering", "cordoned", "healthy", "excluded"];
const BAD = new Set(STATES.slice(0, 4));

export function devicesOf(plugins) {
  const found = plugins.flatMap(devicesOfPlugin);
  nameForCommands(found);
  // Sorting is stable: within a state, the order is the plugin's.
  return found.sort((a, b) => a.rank - b.rank);
}

function devicesOfPlugin({ name: plugin, report }) {
  const found = new Map();
  const add = (key, resource, share, more = {}) => {
    if (!found.has(key)) {
      found.set(key, { key: `${plugin} ${key}`, ref: key, plugin, first: share, shares: [], resources: new Set(),
        holdersKnown: report.holders_known, reset: report.resets[key], cordon: report.cordons[key], ...more });
    }
    found.get(key).shares.push(share);
    if (resource) found.get(key).resources.add(resource);
  };
  for (const resource of report.resources) {
    for (const device of resource.devices) add(device.physical || `${resource.name} ${device.id}`, resource.name, device);
    for (const [id, holder] of Object.entries(resource.removed_in_use)) {
      const reason = "removed by the plugin, still in use";
      add(`removed ${resource.name} ${id}`, resource.name, { id, holder, reason, healthy: false }, { state: "removed while in use" });
    }
  }
  for (const { id, reason } of report.excluded) {
    add(`excluded ${id} ${reason}`, "", { id, reason, healthy: false }, { state: "excluded" });
  }
  return [...found.values()].map(withState);
}

function withState(device) {
  const bad = device.shares.filter((share) => !share.healthy);
  const stateOf = (share) => (["cordon", "annotation"].includes(share.source) ? "cordoned" : share.health);
  const ranked = bad.map((share) => ({ share, rank: STATES.indexOf(stateOf(share)) })).sort((a, b) => a.rank - b.rank);
  const state = device.state || (ranked.length ? stateOf(ranked[0].share) : "healthy");
  const held = device.shares.filter((share) => share.holder);
  return { ...device, state, rank: STATES.indexOf(state), worst: ranked[0]?.share || null, bad: bad.length, held: held.length,
    title: titleOf(device.first) };
}

function titleOf({ id, physical, attributes = {} }) {
  const model = attributes.model && (attributes.index ? `${attributes.model} · ${attributes.index}` : attributes.model);
  return attributes.name || model || physical || id;
}

// A command names a device by its id, or by resource and id if several resources have that id.
function nameForCommands(devices) {
  const whole = devices.filter((device) => !device.first.physical && device.state !== "excluded");
  const counts = new Map();
  for (const { first } of whole) counts.set(first.id, (counts.get(first.id) || 0) + 1);
  for (const device of devices) {
    const { physical, id } = device.first;
    device.name = quoted(physical || (counts.get(id) > 1 ? device.ref : id));
  }
}

export const isBad = (device) => BAD.has(device.state);

// The filters, each with its test.
export const SHOWN = new Map([
  ["all", () => true],
  ...STATES.map((state) => [state, (device) => device.state === state]),
  ["in use", (device) => device.held > 0],
  ["free", (device) => device.state === "healthy" && device.holdersKnown && device.held === 0],
]);

// All words must occur in the device's facts.
export function matches(device, words) {
  if (!words.length) return true;
  const { plugin, title, state, shares, resources, ref, cordon = "" } = device;
  const text = [plugin, title, state, ref, cordon, ...resources, ...shares.flatMap((share) => [
    share.id, share.reason || "", share.holder || "", ...(share.pci || []), ...(share.upstream || []),
    ...Object.entries(share.attributes || {}).flat(), ...(share.numa || []).map((node) => `numa ${node}`),
  ])].join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}
