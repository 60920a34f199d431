// A question to everything, and who is told when something is wrong and lasts.

import { ask, at, get, told } from "../core/api.js";
import { h } from "../core/dom.js";
import { to } from "../core/router.js";
import { changed } from "../core/store.js";
import { ago, day, span } from "../core/words.js";
import { toast } from "../parts/change.js";
import { chip } from "../parts/chips.js";

const LEVELS = { ok: "ok", warning: "warn", failed: "bad", skipped: "dim" };
const ORDER = ["failed", "warning", "ok", "skipped"];

let health = null;
let places = null;
let failed = "";
let busy = false;

export function enter() {
  look();
}

async function look() {
  try {
    [health, places] = await Promise.all([get("/api/health/deep"), get("/api/notifications").then((found) => found.notifications)]);
    failed = "";
  } catch (error) {
    failed = told(error);
  }
  changed();
}

// The server goes on with it if this page is closed; the last result is kept there.
async function run() {
  busy = true;
  changed();
  try {
    await ask("/api/health/deep", { method: "POST" });
  } catch (error) {
    toast(told(error));
  }
  busy = false;
  await look();
}

export function show() {
  return [
    h("h1", {}, "Checks"),
    h("p.dim", {}, "Each workload that should serve is asked a question of its kind, each Spark and this server are looked over. Nothing is changed by it."),
    failed && h("p.box.warn", {}, failed),
    health && h("p.buttons", {}, h("button.act", { type: "button", disabled: busy || health.running, onclick: run }, busy || health.running ? "Asking everything" : "Ask everything now")),
    health && report(health),
    places && listeners(places),
  ];
}

function report({ last, nextAt }) {
  const next = nextAt ? ` The next one is at ${day(nextAt)}.` : "";
  if (!last) return h("p", {}, `Nothing was asked yet.${next}`);
  const findings = [...last.findings].sort((a, b) => ORDER.indexOf(a.outcome) - ORDER.indexOf(b.outcome));
  return [
    h("p", {}, chip(last.healthy ? "ok" : "bad", last.healthy ? "All is well" : "Something failed"), ` ${ago(last.at)}, in ${span(last.seconds)}, asked by ${last.by}.${next}`),
    h("table", {},
      h("caption.unseen", {}, "What was asked, and what came of it"),
      h("thead", {}, h("tr", {}, ["What", "Check", "Outcome", "Took", "In words"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, findings.map((f) =>
        h("tr", { key: `${f.kind} ${f.name} ${f.spark} ${f.check}` },
          h("th", { scope: "row" }, link(f), f.spark && f.spark !== f.name && h("span.dim.small", {}, ` on ${f.spark}`)),
          h("td", {}, f.check),
          h("td", {}, chip(LEVELS[f.outcome] ?? "dim", f.outcome)),
          h("td.number", {}, f.milliseconds === null ? "" : `${Math.round(f.milliseconds)} ms`),
          h("td.why.small", {}, f.message))))),
  ];
}

function link(f) {
  const page = { workload: "workloads", spark: "sparks" }[f.kind];
  return page ? h("a", { href: to(page, f.name) }, f.name) : f.name;
}

function listeners(found) {
  return h("section", {},
    h("h2", {}, "Who is told"),
    found.length
      ? h("ul.rows", {}, found.map((n) =>
          h("li.line", { key: n.name },
            h("span", {}, chip(n.failing ? "bad" : "ok", n.name), ` ${n.kind}, what lasts ${span(n.after)}. `,
              h("span.dim", {}, n.failing ? `Not taken ${ago(n.failedAt)}: ${n.failure}` : n.deliveredAt ? `Last taken ${ago(n.deliveredAt)}.` : "Nothing was sent yet.")),
            h("button.quiet", { type: "button", onclick: () => test(n.name) }, "Send a test"))))
      : h("p.dim", {}, "Nobody. Name a webhook, Slack or ntfy under ", h("a", { href: to("settings") }, "settings.notifications"), "."));
}

async function test(name) {
  try {
    await ask(at`/api/notifications/${name}/test`, { method: "POST" });
    toast(`${name} took a test message.`);
  } catch (error) {
    toast(told(error));
  }
  look();
}
