// Draws a tree of nodes, and changes only what differs, so that focus, selection and opened details are kept.
// Text is inserted as text, never as markup, because reasons and names are external input.

const drawn = new WeakMap(); // element -> the node it was drawn from
const KEPT = new Set(["open"]); // set by the user
const SHOWN = new Set(["title", "aria-label", "data-copy"]); // attributes that users read or paste

// Makes text one line of printable characters, as hub/base/printable.py does. Characters that reverse the direction of
// writing could make a name look like another.
export function printable(text) {
  return `${text}`.replace(/[\t\n\v\f\r\x1c-\x1f\x85\p{Z}]/gu, " ").replace(/\p{C}/gu, "\ufffd");
}

// Makes a node. An attribute `key` identifies it among its siblings; falsy children are dropped.
export function h(tag, attributes = {}, ...children) {
  const { key, ...rest } = attributes;
  const kept = children.flat(Infinity).filter(Boolean);
  return { tag, key, attributes: rest, children: kept.map((child) => (child.tag || child.build ? child : printable(child))) };
}

// Makes a node that is built only if its fingerprint has changed.
export function lazy(key, print, build) {
  return { key, print, build };
}

// Makes these nodes the children of an element.
export function draw(container, ...nodes) {
  const focused = document.activeElement;
  drawChildren(container, nodes.flat(Infinity).filter(Boolean));
  // An element that is moved loses focus.
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

function drawChildren(container, nodes) {
  const keys = new Set(nodes.map((node) => node.key).filter(Boolean));
  const keyed = new Map();
  for (const child of [...container.children]) {
    const key = drawn.get(child)?.key;
    if (!key) continue;
    if (keys.has(key)) keyed.set(key, child);
    else child.remove();
  }
  let at = container.firstChild;
  for (const node of nodes) {
    const found = node.key ? keyed.get(node.key) : fitting(at, node);
    if (!found) container.insertBefore(create(node), at);
    else if (found === at) at = at.nextSibling;
    else container.insertBefore(found, at);
    if (found) update(found, node);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// An element without a key can become any node of the same kind.
function fitting(live, node) {
  if (!live || drawn.get(live)?.key) return null;
  return live.nodeName.toLowerCase() === (node.tag || "#text") ? live : null;
}

function create(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const { tag, attributes, children } = node.build ? node.build() : node;
  const made = document.createElement(tag);
  setAttributes(made, attributes);
  made.append(...children.map(create));
  drawn.set(made, node);
  return made;
}

function update(live, node) {
  if (typeof node === "string") {
    if (live.data !== node) live.data = node;
    return;
  }
  if (node.build && drawn.get(live).print === node.print) return;
  const { attributes, children } = node.build ? node.build() : node;
  for (const { name } of [...live.attributes]) {
    if (!(name in attributes) && !KEPT.has(name)) live.removeAttribute(name);
  }
  setAttributes(live, attributes);
  drawChildren(live, children);
  drawn.set(live, node);
}

function shown(name, value) {
  return SHOWN.has(name) ? printable(value) : `${value}`;
}

function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (KEPT.has(name) && drawn.has(element)) continue;
    if (value === false || value === null) element.removeAttribute(name);
    else if (element.getAttribute(name) !== shown(name, value)) element.setAttribute(name, shown(name, value));
  }
}
