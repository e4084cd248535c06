// The plugins with their resources; all details of a plugin are below it once it is opened.

import { copyable } from "./clipboard.js";
import { draw, h } from "./dom.js";
import { facts, megabytes, moment, quoted, since } from "./words.js";

const CALM = ["starting", "registering", "no resources", "standby", "superseded", "external", "waiting for kubelet", "stopping", "stopped"];

export function drawPlugins({ plugins }) {
  draw(document.getElementById("plugins"), plugins.map(pluginItem));
}

function pluginItem(plugin) {
  const { name, condition, message, process, report } = plugin;
  const kind = condition === "registered" ? "good" : CALM.includes(condition) ? "calm" : "bad";
  return h("li", { key: name, class: `plugin ${kind}` }, h("details", {},
    h("summary", {},
      h("b", { class: "name" }, name),
      h("span", { class: "condition" }, condition),
      h("span", { class: "resources" }, report.resources.map(resourceLine)),
      h("span", { class: "up" }, process.started ? ["up ", since(process.started)] : "", restartsOf(process)),
      message && h("span", { class: "reason" }, message)),
    h("div", { class: "more" }, pluginFacts(plugin), report.resources.map(resourceFacts))));
}

function restartsOf({ restarts }) {
  const count = Object.values(restarts).reduce((sum, each) => sum + each, 0);
  return count ? h("span", { class: "restarts" }, `restarted ${count === 1 ? "once" : `${count} times`}`) : "";
}

function resourceLine({ name, capacity, allocatable, allocated }) {
  const short = allocatable < capacity;
  return h("span", { key: name, class: "resource" }, h("span", {}, name), " ",
    h("span", { class: short ? "short" : "" }, `${allocatable} of ${capacity} healthy`),
    allocated === null ? ", usage unknown" : `, ${allocated} in use`);
}

function pluginFacts({ name, last_heartbeat: heartbeat, log_level: level, memory, process, report }) {
  const { last_exit: exit } = process;
  const { config } = report;
  return facts([
    ["Process", process.pid ? copyable(`${process.pid}`) : "none"],
    ["Started", moment(process.started)],
    ["Last heartbeat", moment(heartbeat)],
    ["Memory", megabytes(memory)],
    ["Starts", `${process.starts}`],
    ["Restarts", Object.entries(process.restarts).map(([reason, count]) => `${count} ${reason}`).join(", ") || "none"],
    ["Last exit", exit && [exit.reason, `, process ${exit.pid}, code ${exit.code}, `, moment(exit.ended)]],
    ["Next start", process.next_start > 0 && moment(process.next_start)],
    ["Log level", level],
    ["Devices", report.reason],
    ["Configuration", config && copyable(config.path)],
    ["Commands", ["logs", "restart"].map((verb) => copyable(`dphub ${verb} ${quoted(name)}`))],
  ]);
}

function resourceFacts(resource) {
  const { rejection } = resource;
  return h("section", { key: resource.name, class: "resource-facts" }, h("h3", {}, copyable(resource.name, "span")), facts([
    ["Registration", [resource.registration, resource.detail && `: ${resource.detail}`]],
    ["Since", moment(resource.since)],
    ["Registrations", `${resource.registrations}`],
    ["No devices", resource.reason],
    ["Problems", resource.problems.map((problem) => h("p", {}, problem))],
    ["Rejected containers", rejection && [`${rejection.count}, the last `, moment(rejection.time), `: ${rejection.reason}`]],
  ]));
}
