// The first page: what needs a person, then the Sparks, then the workloads, the most urgent first.

import { h } from "../core/dom.js";
import { to } from "../core/router.js";
import { changed, store } from "../core/store.js";
import { many, size, span, urgency } from "../core/words.js";
import { ledger, memoryBar, memorySentence, sparkline, strip } from "../parts/charts.js";
import { chip, health, reach, sync } from "../parts/chips.js";

const FIRST = 25; // workloads shown until somebody asks for all
const RECENT = 120; // samples in a card
const NAMED = 4; // workloads below a memory bar
let filter = "";
let all = false;

export function show() {
  const { status } = store;
  return [h("h1.unseen", {}, "Fleet"), attention(status), sparks(status), workloads(status)];
}

// Each with its cause and one place to go.
function attention(status) {
  const found = [
    ...status.problems.map((p) => ["bad", "The desired state has a mistake", p.text, null]),
    ...remote(status.checkout),
    ...Object.entries(status.sparks).flatMap(([name, s]) => sparkTrouble(name, s)),
    ...Object.entries(status.workloads)
      .filter(([, w]) => urgency(w) < 2)
      .sort((a, b) => urgency(a[1]) - urgency(b[1]))
      .map(([name, w]) => [w.health === "Healthy" || w.health === "Suspended" ? "warn" : "bad", name, w.message, to("workloads", name)]),
  ];
  if (status.plan.withheld) {
    const text = `${many(status.plan.withheld, "step waits", "steps wait")} for a person's approval`;
    found.unshift(["warn", "Plan", text, to("plan")]);
  }
  if (!found.length) return null;
  const shown = found.slice(0, 8);
  return h("section.attention", { "aria-labelledby": "attention" },
    h("h2", { id: "attention" }, "Needs a look"),
    h("ul.rows", {}, shown.map(([level, what, why, where]) =>
      h("li", {}, chip(level, what), " ", h("span.why", {}, why), where && [" ", h("a", { href: where }, "Look")]))),
    found.length > shown.length && h("p.dim", {}, `and ${found.length - shown.length} more below`));
}

function sparkTrouble(name, spark) {
  if (!spark.reachable) return [["bad", name, `does not answer: ${spark.message} Nothing on it is touched.`, to("sparks", name)]];
  if (spark.lease && !spark.lease.ours) return [["warn", name, spark.lease.message, to("sparks", name)]];
  return [];
}

function remote(checkout) {
  if (!checkout) return [];
  const found = [];
  if (checkout.problem) found.push(["warn", "Git", checkout.problem, to("history")]);
  if (checkout.remote && !checkout.remote.good) found.push(["warn", "Git remote", checkout.remote.message, to("history")]);
  return found;
}

function sparks(status) {
  const names = Object.keys(status.sparks);
  return h("section", { "aria-labelledby": "sparks" },
    h("h2", { id: "sparks" }, "Sparks"),
    names.length ? h("ul.cards", {}, names.map((name) => card(name, status.sparks[name], status.workloads)))
      : h("p.dim", {}, "No Spark is declared yet. In desired.yaml: ", h("code", {}, "sparks: {spark-1: {host: 192.168.1.11, user: nvidia}}")));
}

function card(name, spark, workloads) {
  const l = ledger(name, spark, workloads);
  const series = store.series[name];
  return h("li.card", { key: name },
    h("p.line", {}, h("a.name.row-link", { href: to("sparks", name) }, name), reach(spark)),
    l && [memoryBar(l, `Memory of ${name}`), h("p.small", {}, memorySentence(l)), legend(l)],
    h("p.small.dim", {}, figures(spark)),
    series && sparkline(series.gpuUtilization.slice(-RECENT), { label: `GPU use of ${name} in the last hour`, top: 100 }),
    strip(store.uptime.sparks[name], `When ${name} answered, over 24 hours`));
}

// Which colour is whom; what is too small to be seen in the bar is in the table of the Spark's own page.
function legend(l) {
  const big = l.parts.filter((p) => p.kind.startsWith("hue") && p.bytes > l.total / 100).sort((a, b) => b.bytes - a.bytes);
  const shown = big.slice(0, NAMED);
  return big.length > 0 && h("p.small", {}, shown.map((p) => h("span.swatch", { class: p.kind }, p.what)), big.length > shown.length && `and ${big.length - shown.length} more`);
}

function figures(spark) {
  const { facts } = spark;
  if (!facts) return spark.message;
  const gpu = facts.gpus[0];
  const parts = gpu
    ? [gpu.utilization !== null && `GPU ${gpu.utilization} %`, gpu.temperature !== null && `${gpu.temperature} °C`, gpu.power !== null && `${gpu.power} W`]
    : ["no GPU seen"];
  if (facts.diskFree !== null) parts.push(`disk ${size(facts.diskFree)} free`);
  if (spark.foreign.length) parts.push(`${many(spark.foreign.length, "container")} not ours`);
  return parts.filter(Boolean).join(" · ");
}

function workloads(status) {
  const found = Object.entries(status.workloads)
    .filter(([name, w]) => `${name} ${w.kind} ${w.sync} ${w.health}`.toLowerCase().includes(filter))
    .sort((a, b) => urgency(a[1]) - urgency(b[1]) || a[0].localeCompare(b[0]));
  const shown = all ? found : found.slice(0, FIRST);
  return h("section", { "aria-labelledby": "workloads" },
    h("div.line", {},
      h("h2", { id: "workloads" }, "Workloads"),
      h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter workloads", oninput: typed })),
    found.length ? table(shown) : h("p.dim", {}, filter ? "None is like that." : "Nothing is declared yet: see ", !filter && h("a", { href: to("models") }, "Models")),
    shown.length < found.length && h("button", { type: "button", onclick: showAll }, `Show all ${found.length}`));
}

function typed(event) {
  filter = event.target.value.toLowerCase();
  changed();
}

function showAll() {
  all = true;
  changed();
}

function table(shown) {
  return h("table", {},
    h("caption.unseen", {}, "Workloads, the most urgent first"),
    h("thead", {}, h("tr", {}, ["Name", "Sync", "Health", "Run", "Where", "In words"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, shown.map(([name, w]) => row(name, w))));
}

function row(name, w) {
  return h("tr", { key: name },
    h("th", { scope: "row" }, h("a.row-link", { href: to("workloads", name) }, name)),
    h("td", {}, sync(w)),
    h("td", {}, health(w)),
    h("td", {}, run(name, w)),
    h("td.small", {}, where(w)),
    h("td.why.small", {}, w.message, bar(w)));
}

function run(name, w) {
  if (w.kind === "removed") return h("span.dim", {}, "removed");
  return h("button.quiet", { type: "button", "aria-label": `${name} runs ${w.run}: change`, onclick: () => ask(name, w) }, w.run);
}

async function ask(name, w) {
  const { changeRun } = await import("../parts/run.js");
  changeRun(name, w);
}

function where(w) {
  const places = w.instances.map((i) => (i.port ? `${i.spark}:${i.port}` : i.spark));
  return places.length > 3 ? `${places.slice(0, 2).join(", ")} and ${places.length - 2} more` : places.join(", ") || "nowhere";
}

function bar(w) {
  const loading = w.instances.find((i) => i.progress);
  if (!loading) return null;
  const { percent, remaining } = loading.progress;
  return h("progress", { max: 100, value: percent === null ? null : Math.round(percent), "aria-label": remaining ? `about ${span(remaining)} left` : "loading" });
}
