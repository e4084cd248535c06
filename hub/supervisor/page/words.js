"use strict";
// Elements and words. Text goes into elements as text, never as markup: reasons and names come from elsewhere.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function ago(seconds) {
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

// How long ago something was; kept up to date without the hub.
function since(moment) {
  return moment ? element("span", { "data-since": moment }, ago(Date.now() / 1000 - moment)) : "-";
}

function megabytes(bytes) {
  return bytes === null ? "-" : `${Math.round(bytes / 1e6)} MB`;
}

setInterval(() => {
  for (const shown of document.querySelectorAll("[data-since]")) {
    shown.textContent = ago(Date.now() / 1000 - shown.dataset.since);
  }
}, 1000);
