// Copies ids and commands. Browsers have navigator.clipboard only on https and localhost, and most hubs use neither.

import { h } from "./dom.js";

const SHOWN = 2000; // milliseconds

// Text with a button that copies it.
export function copyable(text, tag = "code") {
  return h("span", { class: "copyable" }, h(tag, {}, text),
    h("button", { type: "button", class: "copy", "data-copy": text, "aria-label": `Copy ${text}` }, "Copy"));
}

export function copyOnClick(announce) {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = button.dataset.copy;
    const done = await copied(text);
    if (!done) select(button.previousElementSibling);
    button.textContent = done ? "Copied" : "Selected";
    announce(done ? `Copied ${text}` : "Selected; copy it with the keyboard or the menu");
    setTimeout(() => { button.textContent = "Copy"; }, SHOWN);
  });
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByCommand(text); // no secure context, or no permission
  }
}

function copiedByCommand(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "away";
  field.readOnly = true;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return done;
}

function select(element) {
  getSelection().selectAllChildren(element);
}
