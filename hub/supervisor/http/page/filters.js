// What a person has chosen to see. It is in the address, so that a link shows the same to somebody else.

import { SHOWN } from "./devices.js";

const USUAL = { q: "", show: "all", resource: "", view: "list" };

export function readFilters() {
  const given = new URLSearchParams(location.hash.slice(1));
  const filters = Object.fromEntries(Object.entries(USUAL).map(([name, usual]) => [name, given.get(name) ?? usual]));
  if (!SHOWN.has(filters.show)) filters.show = USUAL.show;
  if (filters.view !== "topology") filters.view = USUAL.view;
  return filters;
}

export function writeFilters(filters) {
  const chosen = Object.entries(filters).filter(([name, value]) => value !== USUAL[name]);
  const hash = new URLSearchParams(chosen).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

export const noFilters = (view) => ({ ...USUAL, view });
