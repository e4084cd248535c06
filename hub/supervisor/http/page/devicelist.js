// The devices that match the filters, as a list with the worst first, or by topology.

import { deviceItem } from "./device.js";
import { SHOWN, matches } from "./devices.js";
import { draw, h } from "./dom.js";
import { topology } from "./topology.js";
import { amount } from "./words.js";

export const STEP = 200; // devices that are drawn at first
const MOST = 2000; // devices that are added at once: a browser takes seconds to draw more
const byId = (id) => document.getElementById(id);

// The data that does not depend on the search: how many devices each filter would show, and the resources.
export function overviewOf(devices) {
  const counts = new Map([...SHOWN].map(([name, test]) => [name, devices.filter(test).length]));
  const resources = new Set();
  for (const device of devices) for (const resource of device.resources) resources.add(resource);
  return { devices, counts, resources };
}

// Draws the devices that match, up to a limit, and returns those drawn.
export function drawDevices({ devices, counts, resources }, filters, limit) {
  drawFilters(counts, resources, filters);
  const words = filters.q.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = SHOWN.get(filters.show);
  const chosen = devices.filter((device) =>
    shown(device) && (!filters.resource || device.resources.has(filters.resource)) && matches(device, words));
  const drawn = chosen.slice(0, limit);
  byId("devices").setAttribute("aria-busy", "false");
  draw(byId("devices"), drawn.length > 0 && (filters.view === "topology" ? topology(drawn) :
    h("ul", { key: "list", class: drawn.length > STEP ? "devices lines long" : "devices lines" }, drawn.map(deviceItem))));
  drawCount(counts, chosen.length, drawn.length, filters);
  draw(byId("more"), drawn.length < chosen.length && moreButtons(chosen.length, drawn.length));
  return drawn;
}

function drawFilters(counts, known, filters) {
  const resources = new Set([...known, filters.resource].filter(Boolean));
  draw(byId("resource"), h("option", { value: "" }, "All resources"),
    [...resources].sort().map((name) => h("option", { value: name }, name)));
  byId("resource").value = filters.resource;
  byId("resource").hidden = resources.size < 2;
  draw(byId("show"), [...counts].filter(([name, count]) => count || ["all", filters.show].includes(name)).map(([name, count]) =>
    choice("show", name, filters.show, [name, " ", h("span", { class: "number" }, count.toLocaleString("en"))])));
  draw(byId("view"), ["list", "topology"].map((name) => choice("view", name, filters.view, name)));
}

function choice(filter, value, chosen, label) {
  return h("button", { key: value, type: "button", "data-filter": filter, "data-value": value, "aria-pressed": `${value === chosen}`,
    class: value.replaceAll(" ", "-") }, label);
}

function drawCount(counts, chosen, drawn, filters) {
  const filtered = filters.q || filters.resource || filters.show !== "all";
  const excluded = counts.get("excluded");
  const total = amount(counts.get("all") - excluded, "device") + (excluded ? ` and ${excluded.toLocaleString("en")} excluded` : "");
  const text = !counts.get("all") ? "No plugin has devices on this node." :
    filtered ? `${chosen.toLocaleString("en")} of ${total} ${chosen === 1 ? "matches" : "match"}` : total;
  const sorted = chosen > 1 && filters.view === "list" ? ", worst first" : "";
  const order = drawn < chosen ? `; the worst ${drawn.toLocaleString("en")} are shown` : sorted;
  draw(byId("count"), `${text}${order}`);
  draw(byId("count-actions"), filtered && h("button", { type: "button", id: "clear" }, "Clear filters"));
}

function moreButtons(chosen, drawn) {
  const rest = chosen - drawn;
  const button = (count) => h("button", { key: `${count}`, type: "button", "data-more": count },
    count < rest ? `Show ${count.toLocaleString("en")} more` : `Show all ${chosen.toLocaleString("en")}`);
  return [`${drawn.toLocaleString("en")} of ${chosen.toLocaleString("en")} shown. `,
    rest > STEP && button(STEP), " ", button(Math.min(rest, MOST))];
}
