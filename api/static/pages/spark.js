// One Spark: what its memory holds, how it has been, what runs there (what is not ours, too), and whether it takes work.

import { ask, at, get, told } from "../core/api.js";
import { h, paint } from "../core/dom.js";
import { to } from "../core/router.js";
import { changed, store } from "../core/store.js";
import { ago, day, gib, size, span } from "../core/words.js";
import { ledger, memoryBar, memorySentence, sparkline, strip } from "../parts/charts.js";
import { reach } from "../parts/chips.js";
import { toast } from "../parts/change.js";
import { eventRows } from "../parts/events.js";
import { spark as verb } from "../parts/verbs.js";

let changes = [];

export function enter(name) {
  changes = [];
  get(`${at`/api/sparks/${name}/connectivity`}?limit=20`).then((found) => {
    changes = found.changes;
    changed();
  }, () => {}); // without it the page has one list less
}

export function show(name) {
  const spark = store.status.sparks[name];
  if (!spark) return [h("h1", {}, name), h("p", {}, "No Spark has this name. ", h("a", { href: "#/" }, "All Sparks"))];
  return [
    h("h1", {}, name),
    h("p.line", {}, reach(spark), h("span.dim", {}, `${spark.host ?? ""} · looked at ${ago(spark.scannedAt)}`)),
    !spark.reachable && h("p.box.bad", {}, `${spark.message} Nothing on it is stopped, moved or forgotten; what is shown is what was seen last.`),
    spark.lease && !spark.lease.ours && h("p.box.warn", {}, spark.lease.message),
    verbs(name, spark),
    memory(name, spark),
    overTime(name),
    containers(name, spark),
    facts(spark),
    connectivity(),
    h("section", { key: "events" }, h("h2", {}, "What happened"), eventRows(store.events.filter((e) => e.object.spark === name || e.object.name === name))),
  ];
}

function verbs(name, spark) {
  const key = ["HostKeyUnknown", "HostKeyChanged", "UnknownHostKey"].includes(spark.reason);
  return h("p.buttons", {},
    spark.cordoned
      ? h("button", { type: "button", onclick: () => verb(name, "uncordon", `Let ${name} take work again?`, `${name} takes work again.`) }, "Uncordon")
      : h("button", { type: "button", onclick: () => verb(name, "cordon", `Start nothing new on ${name}?`, `Nothing new is started on ${name}.`) }, "Cordon"),
    spark.drained
      ? h("button", { type: "button", onclick: () => verb(name, "undrain", `Fill ${name} again?`, `${name} is filled again.`) }, "Undrain")
      : h("button", { type: "button", onclick: () => verb(name, "drain", `Stop everything on ${name}?`, `${name} is being emptied.`) }, "Drain"),
    key && h("button", { type: "button", onclick: () => compare(name) }, "Compare its host key"));
}

// A host key is believed only once a person has compared it with what the Spark itself shows.
async function compare(name) {
  const dialog = document.getElementById("dialog");
  const state = { key: null, error: "" };
  const trust = async (event) => {
    event.preventDefault();
    try {
      await ask(at`/api/sparks/${name}/trust`, { method: "POST", body: { fingerprint: state.key.fingerprint } });
      dialog.close();
      toast(`The host key of ${name} is believed.`);
    } catch (error) {
      state.error = told(error);
      draw();
    }
  };
  const draw = () =>
    paint(dialog,
      h("h2", { key: "title" }, `Is this the host key of ${name}?`),
      state.error && h("p.box.bad", { key: "error", role: "alert" }, state.error),
      state.key && h("p", { key: "key" }, h("code", {}, state.key.fingerprint)),
      h("p", { key: "how" }, "On the Spark itself: ", h("code", {}, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")),
      h("form", { key: "form", onsubmit: trust },
        h("p.buttons", {},
          h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Cancel"),
          h("button.act", { disabled: !state.key }, "It is the same: believe it"))));
  draw();
  dialog.showModal();
  try {
    state.key = await get(at`/api/sparks/${name}/hostkey`);
  } catch (error) {
    state.error = told(error);
  }
  draw();
}

function memory(name, spark) {
  const l = ledger(name, spark, store.status.workloads);
  if (!l) return null;
  const bar = memoryBar(l, `Memory of ${name}`);
  bar.attributes.class += " large";
  return h("section", { key: "memory" },
    h("h2", {}, "Memory"), bar, h("p", {}, memorySentence(l)),
    h("table", {}, h("caption.unseen", {}, "What holds the memory"),
      h("tbody", {}, l.parts.filter((p) => p.bytes > 0).map((p) =>
        h("tr", {},
          h("th", { scope: "row" }, h("svg.swatch", { viewBox: "0 0 1 1", "aria-hidden": "true" }, h(`rect.${p.kind}`, { width: 1, height: 1 })),
            p.kind.startsWith("hue") ? h("a", { href: to("workloads", p.what) }, p.what) : p.what),
          h("td.number", {}, `${gib(p.bytes)} GiB`), h("td.dim.small", {}, p.source ?? ""))))));
}

const CURVES = [
  ["gpuUtilization", "GPU use", "%", 100],
  ["temperature", "Temperature", "°C", 100],
  ["power", "Power", "W", undefined],
  ["memoryAvailable", "Memory left", "GiB", undefined],
];

function overTime(name) {
  const series = store.series[name];
  if (!series) return null;
  const figures = CURVES.filter(([key]) => series[key]?.some((v) => v !== null)).map(([key, word, unit, top]) => {
    const values = unit === "GiB" ? series[key].map((v) => (v === null ? null : v / 2 ** 30)) : series[key];
    const last = values.findLast((v) => v !== null);
    return h("div.card", {}, h("p.line.small", {}, word, h("strong", {}, `${last.toFixed(unit === "GiB" ? 1 : 0)} ${unit}`)),
      sparkline(values, { label: `${word} of ${name} over time, now ${last.toFixed(0)} ${unit}`, top }));
  });
  const answered = strip(store.uptime.sparks[name], `When ${name} answered, over 24 hours`);
  if (!figures.length && !answered) return null;
  return h("section", { key: "curves" },
    h("h2", {}, series.t.length > 1 ? `The last ${span(series.t.at(-1) - series.t[0])}` : "Over time"),
    h("div.figures", {}, figures),
    answered && [h("p.small", {}, "When it answered, over 24 hours"), answered]);
}

function containers(name, spark) {
  const ours = Object.entries(store.status.workloads).flatMap(([workload, w]) =>
    w.instances.filter((i) => i.spark === name && i.container).map((i) => ({ workload, ...i })));
  const rows = [
    ...ours.map((i) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: to("workloads", i.workload) }, i.workload)), h("td", {}, i.container.state), h("td.small.why", {}, i.image))),
    ...spark.foreign.map((f) => h("tr.dim", {}, h("th", { scope: "row" }, f.name), h("td", {}, `${f.state}, not ours: never touched`), h("td.small.why", {}, f.image))),
  ];
  return h("section", { key: "containers" }, h("h2", {}, "Containers"),
    rows.length ? h("table", {}, h("caption.unseen", {}, "Containers"),
      h("thead", {}, h("tr", {}, ["Name", "State", "Image"].map((t) => h("th", { scope: "col" }, t)))), h("tbody", {}, rows)) : h("p.dim", {}, "None."));
}

function facts(spark) {
  const f = spark.facts;
  if (!f) return null;
  const pairs = [
    ...f.gpus.map((g) => ["GPU", g.name]),
    ["Disk", f.diskTotal ? `${size(f.diskFree)} of ${size(f.diskTotal)} free` : "unknown"],
    ...Object.entries(f.interfaces).map(([name, addresses]) => [name, addresses.join(", ")]),
    ["Scan", spark.scanSeconds === null ? "none yet" : `${Math.round(spark.scanSeconds * 1000)} ms`],
  ];
  return h("section", { key: "facts" }, h("h2", {}, "Facts"), h("dl.pairs", {}, pairs.map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])));
}

function connectivity() {
  if (!changes.length) return null;
  return h("section", { key: "connectivity" }, h("h2", {}, "When it answered"),
    h("ul.rows", {}, [...changes].reverse().map((c) => h("li", {}, h("span.dim.small", {}, day(c.at)), " ", c.reachable ? "answers" : `does not answer: ${c.reason}`))));
}
