// Formats times, amounts and commands.

import { h } from "./dom.js";

let ahead = 0; // seconds by which the hub's clock is ahead of the browser's

export function setClock(hubTime) {
  ahead = hubTime - Date.now() / 1000;
}

export function ago(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, size] of units) {
    if (left >= size || (unit === "s" && !parts.length)) parts.push(`${Math.floor(left / size)} ${unit}`);
    left %= size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

// How long ago something was; `tick` updates it between the hub's responses.
export function since(moment) {
  return moment ? h("span", { "data-since": moment }, ago(Date.now() / 1000 + ahead - moment)) : "-";
}

export function tick() {
  for (const shown of document.querySelectorAll("[data-since]")) {
    const words = ago(Date.now() / 1000 + ahead - shown.dataset.since);
    if (shown.textContent !== words) shown.textContent = words;
  }
}

// A time by the browser's clock; with the date unless it is today.
export function clock(moment) {
  const date = new Date(moment * 1000);
  const today = date.toDateString() === new Date().toDateString();
  const text = today ? date.toLocaleTimeString() : date.toLocaleString();
  return h("time", { datetime: date.toISOString() }, text);
}

// A time by the hub's clock, and how long ago it was.
export function moment(time) {
  return time ? [clock(time - ahead), " (", since(time), " ago)"] : null;
}

export function amount(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function megabytes(bytes) {
  return bytes === null ? "unknown" : `${Math.round(bytes / 1e6)} MB`;
}

// Quotes a string as one word for a shell.
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

// The parts of a remedy: text, and commands such as "dphub uncordon 'a b'"; `dphub run` only occurs within text.
export function remedyParts(remedy) {
  const command = /\bdphub (?!run\b)[a-z-]+(?: (?:'(?:[^']|'"'"')*'|[^\s;,']+))*/g;
  const parts = [];
  let from = 0;
  for (const found of remedy.matchAll(command)) {
    parts.push({ text: remedy.slice(from, found.index) }, { command: found[0] });
    from = found.index + found[0].length;
  }
  return [...parts, { text: remedy.slice(from) }].filter((part) => part.command || part.text);
}

// Names and values, without empty values.
export function facts(rows) {
  const shown = rows.filter(([, value]) => value && value.length !== 0);
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
