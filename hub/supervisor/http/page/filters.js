// The filters that the user has chosen. They are in the address, so that a link shows other users the same devices.

import { SHOWN } from "./devices.js";

const DEFAULTS = { q: "", show: "all", resource: "", view: "list" };

export function readFilters() {
  const given = new URLSearchParams(location.hash.slice(1));
  const filters = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, given.get(name) ?? value]));
  if (!SHOWN.has(filters.show)) filters.show = DEFAULTS.show;
  if (filters.view !== "topology") filters.view = DEFAULTS.view;
  return filters;
}

export function writeFilters(filters) {
  const chosen = Object.entries(filters).filter(([name, value]) => value !== DEFAULTS[name]);
  const hash = new URLSearchParams(chosen).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

export const noFilters = (view) => ({ ...DEFAULTS, view });
