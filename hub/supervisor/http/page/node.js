// The node as a whole: its status, totals and problems, and the hub itself.

import { copyable } from "./clipboard.js";
import { isBad } from "./devices.js";
import { draw, h } from "./dom.js";
import { amount, clock, facts, megabytes, moment, remedyParts, since } from "./words.js";

const PRODUCT = "Device Plugin Hub";
const byId = (id) => document.getElementById(id);

// The problems that need attention; those with severity info only explain what is intentional.
const wrong = (status) => status.problems.filter((problem) => problem.severity !== "info");

export function drawHead(status, answered) {
  const count = wrong(status).length;
  const words = count ? amount(count, "problem") : "No problems";
  setVerdict(status.ready ? words : `${words}, not ready`, count ? wrong(status)[0].severity : "ok");
  document.title = `${words} - ${status.node} - ${PRODUCT}`;
  draw(byId("product"), `${PRODUCT} ${status.hub.report.version}`);
  draw(byId("node"), status.node);
  draw(byId("updated"), "Last update ", clock(answered));
}

export function drawHeadWithoutHub(status) {
  setVerdict("No response", "unknown");
  document.title = ["No response", status?.node, PRODUCT].filter(Boolean).join(" - ");
}

function setVerdict(words, kind) {
  draw(byId("verdict"), words);
  byId("verdict").className = kind;
}

export function drawTotals(status, devices) {
  const count = (test) => devices.filter(test).length;
  const bad = count(isBad);
  const known = status.plugins.every((plugin) => plugin.report.holders_known || !plugin.report.resources.length);
  const offered = count((device) => device.state !== "excluded");
  const shares = status.plugins.flatMap((plugin) => plugin.report.resources).reduce((sum, resource) => sum + resource.capacity, 0);
  const registered = status.plugins.filter((plugin) => plugin.condition === "registered").length;
  const kubelet = status.hub.report.kubelet_since;
  draw(byId("totals"),
    total("Devices", [offered.toLocaleString("en"), shares > offered && h("small", {}, ` ${shares.toLocaleString("en")} including shares`)]),
    total("Not healthy", bad.toLocaleString("en"), bad > 0),
    total("In use", known ? count((device) => device.held > 0).toLocaleString("en") : "unknown"),
    total("Plugins registered", `${registered} of ${status.plugins.length}`),
    total("Hub up", since(status.hub.report.started)),
    total("Kubelet up", kubelet ? since(kubelet) : "no kubelet", !kubelet));
}

function total(name, value, bad = false) {
  return h("div", { class: bad ? "bad" : "" }, h("dt", {}, name), h("dd", {}, value));
}

export function drawProblems(status) {
  const problems = wrong(status);
  const notes = status.problems.filter((problem) => problem.severity === "info");
  draw(byId("problems"),
    problems.length > 0 && [h("h2", { key: "problems" }, "Problems"), list("problems-list", problems)],
    notes.length > 0 && [h("h2", { key: "notes" }, "Notes"), list("notes-list", notes)]);
}

function list(key, problems) {
  return h("ul", { key, class: "problems" }, problems.map(({ severity, about, message, remedy }) => h("li",
    { key: `${about} ${message}`, class: severity },
    h("b", {}, about),
    h("div", {}, h("p", {}, message), remedy && h("p", { class: "remedy" },
      remedyParts(remedy).map((part) => (part.command ? copyable(part.command) : part.text)))))));
}

export function drawHub({ hub: { memory, report: hub } }) {
  draw(byId("hub"), h("details", {}, h("summary", {}, h("h2", {}, "Hub")), facts([
    ["Version", hub.version],
    ["Instance", copyable(hub.instance)],
    ["Process", hub.pid],
    ["Started", moment(hub.started)],
    ["Memory", megabytes(memory)],
    ["Configuration", copyable(hub.config)],
    ["Working directory", copyable(hub.directory)],
    ["Plugin directory", copyable(hub.plugin_dir)],
    ["HTTP", hub.http],
    ["Kubelet up since", moment(hub.kubelet_since)],
    ["Kubelet starts", `${hub.kubelet_starts}`],
  ])));
}
