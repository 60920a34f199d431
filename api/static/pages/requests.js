// What apps ask of the models: what is under way, and what ended last. Never what was said.

import { get } from "../core/api.js";
import { h } from "../core/dom.js";
import { polling } from "../core/polling.js";
import { to } from "../core/router.js";
import { changed } from "../core/store.js";
import { MARKS, clock, many, size, span } from "../core/words.js";

const OFTEN = 1000; // ms, while somebody looks
const SELDOM = 5000;
const MOST = 60; // rows of each table
const STATES = { waiting: ["warn", "waits"], asked: ["run", "asked"], answering: ["run", "answers"] };

let known = null;
let failed = "";
let filter = "";
let wrong = false;

export function enter() {
  return polling(
    () => get("/api/requests?limit=500"),
    (answer, problem) => {
      known = answer ?? known;
      failed = problem;
    },
    () => (document.hidden ? SELDOM : OFTEN),
  );
}

export function show() {
  return [
    h("h1", {}, "Requests"),
    failed && h("p.box.warn", {}, failed),
    !known && !failed && h("p.dim", {}, "Asking for them."),
    known && h("p.line", {},
      h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter requests", oninput: typed }),
      h("label", {}, h("input", { type: "checkbox", onchange: only }), " only what failed"),
      h("span.small.dim", {}, summary())),
    known && !wrong && table("Under way", known.inFlight.filter(fits), "No app waits for anything."),
    known && table("Ended", known.ended.filter((r) => fits(r) && (!wrong || !good(r))), "None yet. Apps find the models at this server's address, below /v1."),
  ];
}

function typed(event) {
  filter = event.target.value.toLowerCase();
  changed();
}

function only(event) {
  wrong = event.target.checked;
  changed();
}

const good = (r) => r.cause === "answered" && r.status < 400;
const fits = (r) => `${r.who} ${r.model} ${r.backend ?? ""} ${r.path} ${r.cause ?? ""} ${r.id}`.toLowerCase().includes(filter);

// The last minute, in a line.
function summary() {
  const since = Date.now() / 1000 - 60;
  const lately = known.ended.filter((r) => r.at + r.totalSeconds > since);
  const tokens = lately.reduce((sum, r) => sum + (r.completionTokens ?? 0), 0);
  const bad = lately.filter((r) => !good(r)).length;
  return [`${many(known.inFlight.length, "request")} under way`, `${lately.length} ended within a minute`, bad && `${bad} of them badly`, tokens && `${(tokens / 60).toFixed(1)} tokens/s`].filter(Boolean).join(" · ");
}

function table(title, found, none) {
  return h("section", { key: title },
    h("h2", {}, title),
    found.length === 0 && h("p.dim", {}, filter ? "None that fits." : none),
    found.length > 0 && h("table", {},
      h("caption.unseen", {}, title),
      h("thead", {}, h("tr", {}, ["Model", "Who", "State", "Went to", "Waited", "First byte", "In all", "Tokens"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, found.slice(0, MOST).map(row))),
    found.length > MOST && h("p.small.dim", {}, `and ${found.length - MOST} more: sparkkeep requests -n 500`));
}

function row(r) {
  const [level, word] = STATES[r.state] ?? [good(r) ? "ok" : "bad", r.cause === "answered" ? String(r.status) : `${r.status ?? ""} ${r.cause}`];
  return h("tr", { key: `${r.id} ${r.at}` },
    h("th", { scope: "row" }, r.model || h("span.dim", {}, r.path), h("span.small.dim", {}, ` ${clock(r.at)}`)),
    h("td", {}, r.who),
    h("td", {}, h(`span.chip.${level}`, {}, `${MARKS[level]} ${word}`)),
    h("td.why", { title: `${r.path}, ${size(r.bytesIn)} in, ${size(r.bytesOut)} out, ${r.id}` },
      r.backend ? [h("a", { href: to("workloads", r.workload) }, r.backend), h("span.small.dim", {}, ` ${r.why}`)] : r.waiting && h("span.small", {}, r.waiting.message)),
    h("td", {}, seconds(r.queuedSeconds), r.loadSeconds > 0 && h("span.small.dim", {}, ` (${seconds(r.loadSeconds)} its start)`)),
    h("td", {}, seconds(r.firstByteSeconds)),
    h("td", {}, seconds(r.totalSeconds)),
    h("td", {}, tokens(r)));
}

function tokens(r) {
  if (r.promptTokens === null && r.completionTokens === null) return "";
  return [`${r.promptTokens ?? "?"} + ${r.completionTokens ?? "?"}`, r.tokensPerSecond !== null && h("span.small.dim", {}, ` ${r.tokensPerSecond.toFixed(1)}/s`)];
}

function seconds(value) {
  if (value === null) return "";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  return value < 100 ? `${value.toFixed(1)} s` : span(value);
}
