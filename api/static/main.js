// The dashboard: a head that always tells how the fleet is, and one page below it.
//
// Everything it shows comes from one stream (core/store.js) and is painted from what is known (core/dom.js). It decides
// nothing: each change is shown as the server's plan first (parts/change.js), and goes on if this tab is closed.

import { token } from "./core/api.js";
import { h, paint } from "./core/dom.js";
import { arrive, here, to } from "./core/router.js";
import { begin, changed, onChange, stale, store } from "./core/store.js";
import { icon, title, verdict } from "./core/summary.js";
import { ago, clock } from "./core/words.js";

const LINKS = [
  ["", "Fleet"],
  ["plan", "Plan"],
  ["models", "Models"],
  ["requests", "Requests"],
  ["events", "Events"],
  ["checks", "Checks"],
  ["history", "History"],
  ["settings", "Settings"],
];
const THEMES = ["auto", "light", "dark"];
const $ = (id) => document.getElementById(id);

function head() {
  const { status, line } = store;
  const said = status ? verdict(status) : "Asking for the status.";
  if ($("verdict").textContent !== said) $("verdict").textContent = said;
  document.title = title(status, stale());
  icon($("icon"), status, stale());
  document.body.classList.toggle("stale", stale());
  paint($("line"), lineWords(line));
  paint(
    $("nav"),
    LINKS.map(([name, word]) =>
      h("a", { href: to(name).replace(/\/$/, "/"), "aria-current": here.name === name ? "page" : null }, word, count(name)),
    ),
  );
}

function count(name) {
  const waiting = store.status?.plan.withheld;
  return name === "plan" && waiting ? h("span.count", { title: "steps wait for approval" }, waiting) : null;
}

function lineWords(line) {
  if (line === "live" && !stale()) return ["● live", files(store.status?.checkout)];
  if (line === "refused") return "○ a token is wanted";
  return store.heardAt ? `▲ no news since ${clock(store.heardAt)} (${ago(store.heardAt)}): shown as it was then` : "◐ connecting";
}

function body() {
  if (here.failed) return paint($("page"), h("p.box.bad", {}, here.failed));
  if (here.page && store.status) paint($("page"), here.page.show());
}

function show() {
  head();
  $("token").hidden = store.line !== "refused";
  body();
}

// Which revision of the files is in force.
function files(checkout) {
  if (!checkout?.revision) return null;
  const { revision, dirty, remote } = checkout;
  const parts = [`at ${revision.slice(0, 8)}`, dirty.length && `with hand edits in ${dirty.join(", ")}`, remote && (remote.good ? "in step with the remote" : "not in step with the remote")];
  return [" · ", h("a", { href: to("history") }, parts.filter(Boolean).join(", "))];
}

async function turn(focus = true) {
  await arrive();
  body();
  changed();
  if (focus) {
    scrollTo(0, 0);
    $("page").focus({ preventScroll: true });
  }
}

function theme(next) {
  const now = localStorage.getItem("sparkkeep.theme") ?? "auto";
  const chosen = next ? THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] : now;
  localStorage.setItem("sparkkeep.theme", chosen);
  document.documentElement.dataset.theme = chosen;
  $("theme").textContent = { auto: "◑ Auto", light: "○ Light", dark: "● Dark" }[chosen];
}

const soon = begin();
onChange(show);
addEventListener("hashchange", () => turn());
$("theme").onclick = () => theme(true);
$("token").onsubmit = (event) => {
  event.preventDefault();
  token.set($("word").value.trim());
  $("word").value = "";
  soon();
};
theme(false);
turn(false);
import("./core/keys.js").then((keys) => keys.listen());
