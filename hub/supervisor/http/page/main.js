// Polls the hub for its status, and draws it.

import { copyOnClick } from "./clipboard.js";
import { opened } from "./device.js";
import { STEP, drawDevices, overviewOf } from "./devicelist.js";
import { devicesOf } from "./devices.js";
import { noFilters, readFilters, writeFilters } from "./filters.js";
import { drawHead, drawHeadWithoutHub, drawHub, drawProblems, drawTotals } from "./node.js";
import { drawGone, drawNextTry } from "./gone.js";
import { drawPlugins } from "./plugins.js";
import { setClock, tick } from "./words.js";

const EVERY = 2000; // milliseconds between requests
const HIDDEN = 15000; // the same while the page is hidden
const SHARE = 10; // slow requests are less frequent: they take at most a tenth of the time
const TIMEOUT = 10000; // milliseconds for a response
const LONGEST = 30000; // milliseconds between requests to a hub that does not answer

const byId = (id) => document.getElementById(id);

let status = null; // the hub's last response
let overview = null; // of the devices in that response
let answered = 0; // Unix time of that response, by the browser's clock
let gone = null; // since when, why and for how many attempts the hub has not responded
let filters = readFilters();
let limit = STEP;
let timer = 0;
let nextTry = 0; // Unix time
let asking = false;

async function ask() {
  const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.json();
}

async function refresh() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  const began = performance.now();
  let failure = null;
  try {
    const answer = await ask();
    answered = Date.now() / 1000;
    setClock(answer.time);
    status = answer;
  } catch (error) {
    failure = error;
  }
  asking = false;
  gone = failure && { since: gone?.since || Date.now() / 1000, why: failure.message, tries: (gone?.tries || 0) + 1 };
  const pause = gone ? Math.min(EVERY * 2 ** (gone.tries - 1), LONGEST) : document.hidden ? HIDDEN : EVERY;
  const wait = Math.max(pause, (performance.now() - began) * (gone ? 0 : SHARE));
  nextTry = Date.now() / 1000 + wait / 1000;
  timer = setTimeout(refresh, wait);
  drawAll();
}

function drawAll() {
  drawGone(gone, answered);
  if (gone) {
    drawHeadWithoutHub(status);
    drawNextTry(nextTry);
    return;
  }
  overview = overviewOf(devicesOf(status.plugins));
  drawHead(status, answered);
  drawTotals(status, overview.devices);
  drawProblems(status);
  drawPlugins(status);
  drawDevices(overview, filters, limit);
  drawHub(status);
}

function choose(changed) {
  filters = { ...filters, ...changed };
  limit = STEP;
  writeFilters(filters);
  if (status) drawDevices(overview, filters, limit);
}

function clearFilters() {
  byId("search").value = "";
  choose(noFilters(filters.view));
  byId("search").focus();
}

function showMore(count) {
  const next = limit;
  limit += count;
  const drawn = drawDevices(overview, filters, limit);
  // The button may be gone: the first of the added devices gets focus.
  const { key } = drawn[next];
  byId("devices").querySelector(`[data-device="${CSS.escape(key)}"] > summary`).focus();
}

function listen() {
  byId("search").value = filters.q;
  byId("search").addEventListener("input", (event) => choose({ q: event.target.value }));
  byId("resource").addEventListener("change", (event) => choose({ resource: event.target.value }));
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // keeps the filters in the address
    byId("search").focus();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const { filter, value, more } = button?.dataset || {};
    if (filter) choose({ [filter]: value });
    if (more) showMore(Number(more));
    if (button?.id === "clear") clearFilters();
  });
  byId("devices").addEventListener("toggle", ({ target }) => {
    const key = target.dataset.device;
    if (!key || target.open === opened.has(key)) return;
    if (target.open) opened.add(key);
    else opened.delete(key);
    drawDevices(overview, filters, limit);
  }, true);
  byId("gone-next").querySelector("button").addEventListener("click", refresh);
  addEventListener("hashchange", () => {
    byId("search").value = readFilters().q;
    choose(readFilters());
  });
  addEventListener("online", refresh);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  copyOnClick((words) => { byId("announcer").textContent = words; });
}

listen();
setInterval(() => (gone ? drawNextTry(nextTry) : tick()), 1000);
refresh();
