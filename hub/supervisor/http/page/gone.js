// The notice while the hub does not answer: since when, and how old the rest of the page is.

import { draw } from "./dom.js";
import { ago, clock } from "./words.js";

const byId = (id) => document.getElementById(id);

// Args: since when, why and for how many attempts the hub has not responded, or null; Unix time of its last response,
// or 0.
export function drawGone(gone, answered) {
  document.body.classList.toggle("is-gone", Boolean(gone));
  byId("gone-next").hidden = !gone;
  draw(byId("gone-since"), gone && ["The hub has not answered since ", clock(gone.since), ` (${gone.why}). `,
    answered ? ["The page shows the status as of ", clock(answered), "."] : "No response from the hub yet."]);
}

export function drawNextTry(at) {
  const left = Math.ceil(at - Date.now() / 1000);
  draw(byId("gone-next").querySelector("span"), left > 0 ? `Retrying in ${ago(left)}.` : "Retrying …");
}
