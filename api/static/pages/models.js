// The menu: what lies on the Sparks' disks, what could run, what is being fetched, and what nothing needs any more.

import { ask, at, get, told } from "../core/api.js";
import { h } from "../core/dom.js";
import { polling } from "../core/polling.js";
import { to } from "../core/router.js";
import { changed, store } from "../core/store.js";
import { ago, many, size, span } from "../core/words.js";
import { propose, toast } from "../parts/change.js";
import { progress } from "../parts/charts.js";

const QUICK = 2000; // ms, while something is fetched
const SLOW = 15000;
const STATES = {
  ready_to_run: "ready to run",
  needs_setup: "needs setting up",
  downloading: "being downloaded",
  incomplete: "not complete",
  unknown: "not known",
  not_downloaded: "not downloaded",
};
const MOST = 100; // rows

let menu = null;
let weights = null;
let failed = "";
let filter = "";

export function enter() {
  return polling(
    () => Promise.all([get("/api/models"), get("/api/weights").catch(() => null)]),
    (answer, problem) => {
      [menu, weights] = answer ?? [menu, weights];
      failed = problem;
    },
    () => (weights?.fetches.some((f) => !f.endedAt) && !document.hidden ? QUICK : SLOW),
  );
}

export function show() {
  return [
    h("h1", {}, "Models"),
    failed && h("p.box.warn", {}, failed),
    !menu && !failed && h("p.dim", {}, "Reading what is on the disks."),
    menu && h("p.line", {},
      h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter models", oninput: typed }),
      h("span.small.dim", {}, looked()),
      h("button", { type: "button", onclick: survey }, "Look at the disks again")),
    weights && fetches(),
    menu && table(),
    weights && h("section", { key: "clean" }, h("h2", {}, "Clean up"), h("p", {}, "Weights that nothing declared needs, on disks that fill up. "), h("button", { type: "button", onclick: clean }, "Plan a clean-up …")),
  ];
}

function typed(event) {
  filter = event.target.value.toLowerCase();
  changed();
}

function looked() {
  const times = Object.values(menu.sparks).map((s) => s.surveyedAt).filter(Boolean);
  const bad = Object.entries(menu.sparks).filter(([, s]) => s.reason && s.message && !s.surveyedAt);
  return [times.length ? `looked at ${ago(Math.min(...times))}` : "not looked at yet", ...bad.map(([name, s]) => `${name}: ${s.message}`)].join(" · ");
}

function table() {
  const found = menu.models.filter((m) => `${m.repository} ${m.file ?? ""} ${m.state} ${m.recipes.join(" ")}`.toLowerCase().includes(filter));
  if (!found.length) return h("p.dim", {}, "None. A Spark's cache of Hugging Face (~/.cache/huggingface) is where models are looked for.");
  const near = found.filter((m) => m.state !== "not_downloaded" || m.workloads.length);
  const far = found.filter((m) => !near.includes(m));
  return [
    near.length > 0 && rows("On the Sparks", near),
    far.length > 0 && h("details", { key: "far", open: near.length === 0 || filter !== "" },
      h("summary", {}, `${many(far.length, "recipe")} whose weights are on no Spark yet`), rows("Not on the Sparks", far)),
  ];
}

function rows(caption, found) {
  return h("table", {},
    h("caption.unseen", {}, caption),
    h("thead", {}, h("tr", {}, ["Model", "State", "Size", "On", "What to do"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, found.slice(0, MOST).map(row)));
}

function row(m) {
  return h("tr", { key: `${m.kind} ${m.repository} ${m.file ?? ""}` },
    h("th", { scope: "row" }, m.repository, m.file && h("span.dim.small", {}, ` ${m.file}`), h("span.small.dim", {}, ` ${m.kind}`)),
    h("td", {}, STATES[m.state] ?? m.state.replaceAll("_", " "), m.workloads.map((name) => [" ", h("a", { href: to("workloads", name) }, name)])),
    h("td", {}, m.size ? size(m.size) : ""),
    h("td.small", {}, Object.entries(m.sparks).map(([name, p]) => h("p", {}, presence(name, p)))),
    h("td", {}, h("span.buttons", {},
      !m.workloads.length && h("button", { type: "button", onclick: () => setUp(m) }, m.recipes.length ? "Run …" : "Set up …"),
      m.kind === "model" && weights && h("button", { type: "button", onclick: () => bring(m) }, "Fetch …"))));
}

function presence(name, p) {
  if (p.downloading) return `${name}: being downloaded`;
  if (p.complete === false) return `${name}: not complete (${many(p.missing.length, "file")} missing)`;
  return p.complete === null ? `${name}: not looked through` : name;
}

function fetches() {
  const under = weights.fetches.filter((f) => !f.endedAt || Date.now() / 1000 - f.endedAt < 600);
  if (!under.length) return null;
  return h("section", { key: "fetches" }, h("h2", {}, "Downloads"),
    h("ul.rows", {}, under.map((f) =>
      h("li", { key: `f${f.id}` },
        h("p.line", {}, h("span", {}, h("strong", {}, f.repository), ` → ${f.spark}: ${f.state}`),
          !f.endedAt && h("button.quiet", { type: "button", onclick: () => stop(f) }, "Stop …")),
        f.progress && !f.endedAt && [progress((100 * f.progress.bytes) / Math.max(1, f.progress.total), `Download of ${f.repository}`),
          h("p.small.dim", {}, `${size(f.progress.bytes)} of ${size(f.progress.total)}, ${size(f.progress.rate)}/s${f.progress.eta ? `, ≈ ${span(f.progress.eta)} left` : ""}`)],
        f.message && h("p.small", {}, f.message)))));
}

// Weights can be fetched before anything needs them.
async function bring(m) {
  const { openFetch } = await import("../parts/fetch.js");
  openFetch(m, Object.keys(store.status.sparks));
}

const stop = (f) =>
  propose({
    title: `Stop fetching ${f.repository} to ${f.spark}?`, word: "Stop", reason: false,
    dry: async () => ({ text: "What came so far stays; the next fetch goes on from there." }),
    commit: async () => {
      await ask(`/api/weights/fetches/${f.id}`, { method: "DELETE" });
      return "Stopped.";
    },
  });

async function survey() {
  try {
    await ask("/api/models/survey", { method: "POST" });
    toast("The disks are being looked at.");
  } catch (error) {
    toast(told(error));
  }
}

function clean() {
  let seen;
  propose({
    title: "Delete what nothing needs?", word: "Delete", reason: false, confirm: "delete",
    dry: async () => {
      seen = await get("/api/weights/gc");
      return { text: whatGoes(seen) };
    },
    commit: async () => {
      const { body } = await ask("/api/weights/gc/apply", { method: "POST", body: { digest: seen.digest } });
      return `Deleted ${size(Object.values(body.sparks).reduce((sum, s) => sum + s.bytes, 0))}.`;
    },
  });
}

function whatGoes(plan) {
  const lines = Object.entries(plan.sparks).flatMap(([name, s]) => [
    s.message && `${name}: ${s.message}`,
    ...s.delete.map((d) => `${name}: ${d.what}, ${size(d.bytes)}: ${d.why}`),
  ]);
  return h("span.lines", {}, lines.filter(Boolean).join("\n") || "There is nothing to delete.");
}

async function setUp(m) {
  const { openSetup } = await import("../parts/setup.js");
  openSetup(m, Object.keys(store.status.sparks));
}
