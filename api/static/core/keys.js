// Keys lead somewhere; none of them changes anything on a Spark.

import { h, paint } from "./dom.js";

const PLACES = { f: "#/", p: "#/plan", m: "#/models", r: "#/requests", e: "#/events", c: "#/checks", h: "#/history", s: "#/settings" };
const HELP = [
  ["g then f, p, m, r, e, c, h, s", "go to Fleet, Plan, Models, Requests, Events, Checks, History, Settings"],
  ["/", "to the filter of this page"],
  ["j, k", "next and previous row"],
  ["Enter", "open the row"],
  ["Esc", "close what is open"],
  ["?", "this list"],
];

let going = false;

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, dialog")) return;
    const key = event.key;
    if (going && PLACES[key]) location.hash = PLACES[key];
    else if (key === "/") document.querySelector("main [type=search]")?.focus();
    else if (key === "j" || key === "k") step(key === "j" ? 1 : -1);
    else if (key === "?") help();
    else if (key !== "g") return;
    going = key === "g";
    event.preventDefault();
  });
}

function step(by) {
  const rows = [...document.querySelectorAll("main .row-link")];
  const at = rows.indexOf(document.activeElement);
  rows[Math.max(0, Math.min(rows.length - 1, at + by))]?.focus();
}

function help() {
  const dialog = document.getElementById("dialog");
  paint(
    dialog,
    h("h2", {}, "Keys"),
    h("dl.keys", {}, HELP.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("form", { method: "dialog" }, h("button", {}, "Close")),
  );
  dialog.showModal();
}
