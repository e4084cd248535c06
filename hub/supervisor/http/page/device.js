// One device: a line, with all details below it once it is opened.

import { copyable } from "./clipboard.js";
import { h, lazy } from "./dom.js";
import { facts, moment, since } from "./words.js";

export const opened = new Set(); // keys of the devices whose facts are shown

export function deviceItem(device) {
  const open = opened.has(device.key);
  const { shares, state, reset = null, cordon = null, holdersKnown, name } = device;
  const print = JSON.stringify([shares, [...device.resources], state, open, holdersKnown, name, open && [reset, cordon]]);
  return lazy(device.key, print, () => h("li", { class: `device ${state.replaceAll(" ", "-")}` },
    h("details", { "data-device": device.key, open }, line(device), open && deviceFacts(device))));
}

function line(device) {
  const { first, shares, title, state, worst, bad } = device;
  const id = first.physical || first.id;
  const shown = [title, ...(first.pci || [])].includes(id); // shown elsewhere in the line
  const some = bad && bad < shares.length ? `${bad} of ${shares.length} ` : "";
  const place = [[...device.resources].join(", "), shares.length > 1 && `${shares.length} shares`].filter(Boolean).join(", ");
  return h("summary", {},
    h("span", { class: "state" }, `${some}${state}`, worst?.since && h("span", { class: "for" }, "for ", since(worst.since))),
    h("span", { class: "name" }, h("b", {}, title), !shown && h("span", { class: "id" }, id)),
    h("span", { class: "place" }, place, h("span", { class: "id" }, whereOf(first))),
    h("span", { class: "use" }, worst?.reason && h("span", { class: "reason" }, worst.reason), holderLine(device)));
}

function whereOf({ numa = [], pci = [] }) {
  return [numa.length && `NUMA ${numa.join(", ")}`, pci.length && pci.join(", ")].filter(Boolean).join(" · ");
}

function holdersOf(shares) {
  const counts = new Map();
  for (const { holder } of shares) if (holder) counts.set(holder, (counts.get(holder) || 0) + 1);
  return [...counts].map(([holder, count]) => (shares.length > 1 ? `${holder} (${count})` : holder));
}

function holderLine({ shares, state, holdersKnown }) {
  const [first, ...more] = holdersOf(shares);
  if (first) return h("span", { class: "holder" }, first, more.length > 0 && ` and ${more.length} more`);
  if (state === "excluded" || (holdersKnown && state !== "healthy")) return null;
  return h("span", { class: "holder none" }, holdersKnown ? "free" : "usage unknown");
}

function deviceFacts(device) {
  const { first, shares, worst, reset, plugin } = device;
  const one = shares.length === 1;
  return h("div", { class: "more" }, facts([
    ["Id", one && copyable(first.id)],
    ["Physical device", first.physical && first.physical !== first.id && copyable(first.physical)],
    ["Plugin", plugin],
    ["Resource", [...device.resources].join(", ")],
    ["Since", worst && moment(worst.since)],
    ["Reason", worst?.reason],
    ["Reported by", worst?.source],
    ["Cordoned", device.cordon],
    ["Used by", one && first.holder && copyable(first.holder, "span")],
    ["PCI address", [...new Set(shares.flatMap((share) => share.pci || []))].map((address) => copyable(address))],
    ["Behind PCI bridges", (first.upstream || []).join(" → ")],
    ["NUMA node", (first.numa || []).join(", ")],
    ...(one ? Object.entries(first.attributes || {}) : []),
    ["Last reset", reset && [`${reset.outcome}, took ${reset.seconds.toFixed(2)} s, `, moment(reset.ended), reset.message && `: ${reset.message}`]],
    ["Commands", commandsFor(device).map((command) => copyable(command))],
  ]), !one && shareList(shares));
}

function commandsFor({ state, worst, cordon, name }) {
  if (state === "excluded" || state === "removed while in use") return [];
  if (cordon !== undefined) return [`dphub uncordon ${name}`];
  const remedy = { broken: "uncordon", flapping: "uncordon", reset: "reset" }[worst?.source];
  return [remedy, "cordon"].filter(Boolean).map((verb) => `dphub ${verb} ${name}`);
}

function shareList(shares) {
  const items = shares.map((share) => h("li", { class: share.healthy ? "" : "bad" }, copyable(share.id),
    share.healthy ? "" : ` ${share.health}: ${share.reason}`,
    share.holder ? [" used by ", copyable(share.holder, "span")] : "",
    h("span", { class: "attributes" }, Object.entries(share.attributes || {}).map(([name, value]) => `${name} ${value}`).join(", "))));
  return [h("h4", {}, `${shares.length} shares`), h("ul", { class: "shares" }, items)];
}
