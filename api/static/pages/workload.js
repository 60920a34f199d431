// One workload: its verdicts with their reasons, what can be done, its ranks, why it is as it is, what happened, its log.

import { at, get } from "../core/api.js";
import { h } from "../core/dom.js";
import { polling } from "../core/polling.js";
import { to } from "../core/router.js";
import { changed, store } from "../core/store.js";
import { ago, clock, size, span } from "../core/words.js";
import { progress, strip } from "../parts/charts.js";
import { health, sync } from "../parts/chips.js";
import { eventRows } from "../parts/events.js";
import { openLog } from "../parts/log.js";
import { changeRun, part } from "../parts/run.js";
import { restart, resetBackoff, suspend, remove, edit } from "../parts/verbs.js";
import { openTry } from "../parts/try.js";

const EVERY = 5000; // ms between two looks at why

let why = null;
let failed = "";
let log = null;
let tries = null;

export function enter(name) {
  why = log = tries = null;
  const end = polling(
    () => get(at`/api/workloads/${name}/why`),
    (answer, problem) => {
      why = answer ?? why;
      failed = problem;
    },
    () => (document.hidden ? 10 * EVERY : EVERY),
  );
  return () => {
    end();
    log?.close();
  };
}

export function show(name) {
  const w = store.status.workloads[name];
  if (!w) return [h("h1", {}, name), h("p", {}, "No workload has this name (any more). ", h("a", { href: "#/" }, "All workloads"))];
  return [
    h("h1", {}, name),
    h("p.line", {}, h("span", {}, sync(w), " ", health(w)), h("span.dim", {}, `${w.kind} · generation ${w.generation}`)),
    h("p.lines", {}, w.message),
    verbs(name, w),
    instances(w),
    conditions(w),
    strip(store.uptime.workloads[name], `Health of ${name} over 24 hours`),
    story(),
    h("section", { key: "try" }, h("h2", {}, "Try it"), tries ? tries.view() : h("button", { type: "button", onclick: () => ((tries = openTry(name)), changed()) }, "Ask it something")),
    h("section", { key: "log" }, h("h2", {}, "Log"), log ? log.view() : h("button", { type: "button", onclick: () => ((log = openLog(name)), changed()) }, "Follow the log")),
    h("section", { key: "events" }, h("h2", {}, "What happened"), eventRows(events(name), { workload: true })),
    commands(),
  ];
}

function verbs(name, w) {
  if (w.kind === "removed") return null;
  const suspended = w.conditions.some((c) => c.reason === "Suspended") || w.health === "Suspended" && w.run !== "never";
  const path = part(name, w.kind);
  return h("p.buttons", {},
    h("button", { type: "button", onclick: () => changeRun(name, w) }, `Run: ${w.run}`),
    h("button", { type: "button", onclick: () => edit(name, path) }, "Edit"),
    w.instances.some((i) => i.container) && h("button", { type: "button", onclick: () => restart(name) }, "Restart"),
    h("button", { type: "button", onclick: () => suspend(name, !suspended) }, suspended ? "Resume" : "Suspend"),
    why?.failures?.length > 0 && h("button", { type: "button", onclick: () => resetBackoff(name) }, "Try again now"),
    h("button", { type: "button", onclick: () => remove(name, path) }, "Remove"));
}

function instances(w) {
  if (!w.instances.length) return null;
  const ranked = w.instances.length > 1 && new Set(w.instances.map((i) => i.rank)).size > 1;
  return h("table", {},
    h("caption.unseen", {}, "Where it runs"),
    h("thead", {}, h("tr", {}, ["Spark", ranked && "Rank", "Sync", "Health", "Memory", "Container", "In words"].filter(Boolean).map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, w.instances.map((i) =>
      h("tr", { key: i.name + i.spark },
        h("th", { scope: "row" }, h("a", { href: to("sparks", i.spark) }, i.spark), i.port ? `:${i.port}` : ""),
        ranked && h("td", {}, `rank ${i.rank}`),
        h("td", {}, sync(i)),
        h("td", {}, health(i)),
        h("td.small", {}, i.memory.bytes ? `${size(i.memory.bytes)} (${i.memory.source})` : "unknown",
          i.memory.lines.length > 0 && h("details", {}, h("summary", {}, "How that is counted"), h("p.lines", {}, i.memory.lines.join("\n")))),
        h("td.small", {}, i.container ? `${i.container.state}${i.container.startedAt ? ` since ${ago(i.container.startedAt).replace(" ago", "")}` : ""}` : "none"),
        h("td.why.small", {}, i.message === w.message ? "as above" : i.message, loading(i.progress))))));
}

function loading(p) {
  if (!p) return null;
  return [progress(p.percent, p.stage), p.remaining !== null && h("span.dim", {}, `≈ ${span(p.remaining)} left`)];
}

// What stands above already is not said again; that nothing is stalled goes without saying.
function conditions(w) {
  const shown = w.conditions.filter((c) => c.type !== "Stalled" || c.status === "True");
  if (!shown.length) return null;
  return h("dl.pairs", {}, shown.map((c) => [
    h("dt", {}, `${c.type}: ${c.status}`),
    h("dd", {}, c.reason, h("span.dim.small", {}, `, since ${ago(Date.parse(c.lastTransitionTime) / 1000).replace(" ago", "")}`),
      c.message && c.message !== w.message && h("p.small", {}, c.message)),
  ]));
}

function story() {
  if (failed) return h("p.box.warn", { key: "why" }, failed);
  if (!why) return null;
  return h("section", { key: "why" },
    h("h2", {}, "Why"),
    h("ol.because", {}, why.because.map((sentence) => h("li", {}, sentence))),
    why.failures.map((f) =>
      h("div.box.bad", {},
        h("p", {}, `${f.reason} on ${f.spark}${f.count > 1 ? `, ${f.count} times` : ""}: ${f.message}`),
        f.advice && h("p", {}, f.advice),
        h("p.small", {}, f.terminal ? "Waits for a change of its declaration." : f.retryAt ? `Tried again at ${clock(f.retryAt)}.` : ""),
        f.log.length > 0 && h("details", {}, h("summary", {}, "Its last lines"), h("pre", {}, f.log.join("\n"))))),
    why.instances.length > 0 && h("details", {}, h("summary", {}, "The exact command"), why.instances.map((i) => h("pre", {}, i.command))));
}

function events(name) {
  return store.events.filter((e) => e.object.name === name);
}

function commands() {
  if (!why?.actions.length) return null;
  return h("section", { key: "commands" },
    h("h2", {}, "Commands"),
    h("ul.rows", {}, [...why.actions].reverse().map((a) =>
      h("li", { key: `a${a.id}` },
        h("details", {},
          h("summary", {}, `${clock(a.startedAt)} ${a.verb} on ${a.spark}: ${a.outcome ?? "under way"}${a.endedAt ? `, ${span(a.endedAt - a.startedAt)}` : ""}`),
          h("p.small", {}, a.cause),
          h("pre", {}, a.command, a.stdout && `\n${a.stdout}`, a.stderr && `\n${a.stderr}`))))));
}
