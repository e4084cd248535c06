"use strict";
// Draws the node from /status, again and again.

const EVERY = 2000; // milliseconds
const PATIENCE = 5000; // milliseconds
const MOST = 300; // physical devices drawn one by one
const AGREED = ["registered"];
const RESTLESS = new Set(["memory", "last_sign"]); // what changes all the time, and is no reason to draw anew
const CALM = ["stopped", "handed over", "waiting for kubelet", "starting", "serving", "stopping"];

let drawn = "";
let answered = null;

function show(id, ...children) {
  document.getElementById(id).replaceChildren(...children);
}

function verdict(text, kind) {
  const shown = document.getElementById("verdict");
  shown.textContent = text;
  shown.className = kind;
}

function problemBox(problem) {
  const remedy = problem.remedy ? [element("code", {}, problem.remedy)] : [];
  return element("div", { class: `problem ${problem.severity}` },
    element("b", {}, problem.about), element("span", {}, problem.text), ...remedy);
}

function healthOf(shares) {
  const bad = shares.filter((share) => !share.healthy);
  if (!bad.length) return { kind: "healthy", word: "healthy", worst: null };
  const [worst] = bad;
  if (bad.length < shares.length) return { kind: "partly", word: `${bad.length} of ${shares.length} not healthy`, worst };
  if (worst.source === "cordon") return { kind: "cordoned", word: "cordoned", worst };
  return { kind: worst.health, word: worst.health, worst };
}

function holdersOf(shares) {
  const counts = new Map();
  for (const share of shares) if (share.holder) counts.set(share.holder, (counts.get(share.holder) || 0) + 1);
  return [...counts].map(([holder, count]) => (shares.length > 1 ? `${holder} (${count})` : holder));
}

function deviceCard(device, holdersKnown) {
  const { first, shares } = device;
  const attributes = first.attributes || {};
  const health = healthOf(shares);
  const holders = holdersOf(shares);
  const id = first.physical || first.id;
  const model = attributes.model && (attributes.index ? `${attributes.model} · ${attributes.index}` : attributes.model);
  const name = attributes.name || model || id;
  const pci = (first.pci || []).join(", ");
  const lines = [
    element("h4", {}, name),
    ...([name, pci].includes(id) ? [] : [element("span", { class: "id" }, id)]),
    ...(pci ? [element("span", { class: "id" }, `PCI ${pci}`)] : []),
    element("span", { class: "id" }, [...device.resources].join(", ") + (shares.length > 1 ? `, ${shares.length} shares` : "")),
    element("div", {}, element("span", { class: "health" }, health.word),
      ...(health.worst ? [" for ", since(health.worst.since)] : [])),
    ...(health.worst ? [element("div", { class: "reason" }, health.worst.reason)] : []),
    ...holders.map((holder) => element("span", { class: "holder" }, holder)),
    ...(holders.length || health.worst ? [] : [element("span", { class: "free" }, holdersKnown ? "free" : "holder unknown")]),
  ];
  const title = Object.entries(attributes).map(([key, value]) => `${key}: ${value}`).join("\n");
  return element("article", { class: `device ${health.kind}`, title }, ...lines);
}

function bridgeBox(bridge, card) {
  const inside = [...bridge.bridges.map((each) => bridgeBox(each, card)), ...bridge.devices.map(card)];
  if (inside.length === 1) return inside[0];
  return element("div", { class: "switch" },
    element("h3", {}, "PCIe switch ", element("code", {}, bridge.address)),
    element("div", { class: "inside" }, ...inside));
}

function numaBox([name, devices], card) {
  const tree = bridgeTree(devices.slice(0, MOST));
  const loose = tree.devices.length ? [element("div", { class: "loose inside" }, ...tree.devices.map(card))] : [];
  const inside = [...tree.bridges.map((bridge) => bridgeBox(bridge, card)), ...loose];
  const more = devices.length > MOST ? [element("p", { class: "more" }, `and ${devices.length - MOST} more`)] : [];
  return element("div", { class: "numa" },
    element("h2", {}, name || "No NUMA node"),
    element("div", { class: "inside" }, ...inside, ...more));
}

function pluginRow(plugin) {
  const kind = AGREED.includes(plugin.condition) ? "registered" : CALM.includes(plugin.condition) ? "calm" : "odd";
  const restarts = Object.entries(plugin.restarts).map(([reason, count]) => `${count} ${reason}`).join(", ");
  const resources = plugin.resources.map((resource) => element("div", {},
    `${resource.name}: ${resource.healthy} of ${resource.total} healthy, ` +
    (resource.allocated === null ? "allocated unknown" : `${resource.allocated} allocated`)));
  const cells = [
    ["plugin", element("b", {}, plugin.name)],
    ["condition", `${plugin.condition}${plugin.text ? `: ${plugin.text}` : ""}`, kind],
    ["resources", element("div", {}, ...resources)],
    ["up", since(plugin.started)],
    ["restarts", restarts || "none"],
    ["last exit", plugin.last_exit ? plugin.last_exit.why : "-"],
    ["memory", megabytes(plugin.memory)],
  ];
  return element("tr", {}, ...cells.map(([title, value, cls]) =>
    element("td", { "data-title": title, ...(cls ? { class: cls } : {}) }, value)));
}

function pluginTable(plugins) {
  const titles = ["plugin", "condition", "resources", "up", "restarts", "last exit", "memory"];
  return element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...titles.map((title) => element("th", {}, title)))),
    element("tbody", {}, ...plugins.map(pluginRow))));
}

function draw(status) {
  const { hub, plugins, problems } = status;
  const worst = problems.find((problem) => problem.severity !== "note");
  verdict(worst ? (worst.severity === "fault" ? "Not ready" : "Something is wrong") : "All is well", worst ? worst.severity : "well");
  show("facts", `${hub.version}, up `, since(hub.started),
    ...(hub.kubelet_since ? [", kubelet up ", since(hub.kubelet_since)] : [", no kubelet"]));
  show("problems", ...problems.map(problemBox));
  const known = new Map(plugins.map((plugin) => [plugin.name, plugin.holders_known]));
  const card = (device) => deviceCard(device, known.get(device.plugin));
  const boxes = byNuma(physicalDevices(plugins)).map((node) => numaBox(node, card));
  show("node", ...(boxes.length ? boxes : [element("p", { class: "more" }, "No plugin has a device here.")]));
  show("plugins", pluginTable(plugins));
}

async function ask() {
  const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.json();
}

async function refresh() {
  let status = null;
  try {
    status = await ask();
  } catch (error) {
    drawn = "";
    const age = answered ? `; what is shown is ${ago(Date.now() / 1000 - answered)} old` : "";
    verdict(`The hub does not answer (${error.message})${age}`, "fault");
  }
  setTimeout(refresh, EVERY);
  if (!status) return;
  answered = Date.now() / 1000;
  // Drawn anew only where something changed, so that what a person has marked stays.
  const { time, ...rest } = status;
  const now = JSON.stringify(rest, (key, value) => (RESTLESS.has(key) ? undefined : value));
  if (now !== drawn) draw(status);
  drawn = now;
}

refresh();
