// What happened, the newest first, with a filter; older ones on demand.

import { get, told } from "../core/api.js";
import { h } from "../core/dom.js";
import { changed, store } from "../core/store.js";
import { eventRows } from "../parts/events.js";

let filter = "";
let warnings = false;
let older = [];
let failed = "";

export function enter() {
  older = [];
}

export function show() {
  const ids = new Set(store.events.map((e) => e.id));
  const all = [...older.filter((e) => !ids.has(e.id)), ...store.events];
  const found = all.filter((e) => (!warnings || e.type === "Warning") && `${e.object.name} ${e.object.spark} ${e.reason} ${e.message}`.toLowerCase().includes(filter));
  return [
    h("h1", {}, "Events"),
    h("p.line", {},
      h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter events", oninput: typed }),
      h("label", {}, h("input", { type: "checkbox", onchange: only }), " only warnings")),
    failed && h("p.box.warn", {}, failed),
    eventRows(found, { most: 200 }),
    !older.length && h("p.buttons", {}, h("button", { type: "button", onclick: more }, "Older ones")),
  ];
}

function typed(event) {
  filter = event.target.value.toLowerCase();
  changed();
}

function only(event) {
  warnings = event.target.checked;
  changed();
}

async function more() {
  try {
    older = (await get("/api/events?limit=1000&follow=false")).events;
    failed = "";
  } catch (error) {
    failed = told(error);
  }
  changed();
}
