// Small pictures, each with the sentence that says the same.

import { h } from "../core/dom.js";
import { gib, healthLevel } from "../core/words.js";

const HUES = 6; // colours of workloads in a bar, in turn

// What a Spark's memory holds, in bytes: its workloads as they are counted, what else is taken, page cache, free.
// On a Spark, GPU and CPU share it. What our containers take is an estimate or a measured peak, never more than is taken.
export function ledger(name, spark, workloads) {
  const facts = spark.facts;
  if (!facts) return null;
  const free = facts.memoryFree ?? facts.memoryAvailable;
  const cache = Math.max(0, facts.memoryAvailable - free);
  const taken = facts.memoryTotal - facts.memoryAvailable;
  const ours = Object.entries(workloads).flatMap(([workload, w]) =>
    w.instances
      .filter((i) => i.spark === name && i.container?.state === "running" && i.memory.bytes)
      .map((i) => ({ what: workload, bytes: i.memory.bytes, source: i.memory.source })),
  );
  const told = ours.reduce((sum, o) => sum + o.bytes, 0);
  const fit = told > taken ? taken / told : 1; // reserved is not yet taken: a bar shows what is
  const parts = ours.map((o, n) => ({ ...o, bytes: o.bytes * fit, kind: `hue${n % HUES}` }));
  parts.push({ what: "system and others", bytes: Math.max(0, taken - told * fit), kind: "other" });
  parts.push({ what: "page cache", bytes: cache, kind: "cache" }, { what: "free", bytes: free, kind: "free" });
  return { total: facts.memoryTotal, taken, cache, free, available: facts.memoryAvailable, parts };
}

export function memorySentence(l) {
  return `${gib(l.taken)} GiB used, ${gib(l.available)} of ${gib(l.total)} GiB left (${gib(l.cache)} of it page cache)`;
}

export function memoryBar(l, label) {
  let x = 0;
  const rects = l.parts
    .filter((p) => p.bytes > 0)
    .map((p) => {
      const width = (100 * p.bytes) / l.total;
      const rect = h(`rect.${p.kind}`, { x: x.toFixed(2), y: 0, width: width.toFixed(2), height: 10 },
        h("title", {}, `${p.what}: ${gib(p.bytes)} GiB`));
      x += width;
      return rect;
    });
  const said = `${label}: ${l.parts.filter((p) => p.bytes > 0).map((p) => `${p.what} ${gib(p.bytes)} GiB`).join(", ")}`;
  return h("svg.membar", { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": said }, rects);
}

// Values over time, newest right; holes where there is none. `top` is the value at the upper edge.
export function sparkline(values, { label, top }) {
  const known = values.filter((v) => v !== null && v !== undefined);
  if (known.length < 2) return null;
  const high = top ?? Math.max(...known, 1e-9);
  const step = 100 / (values.length - 1);
  const runs = [[]];
  values.forEach((v, n) => {
    if (v === null || v === undefined) runs.push([]);
    else runs.at(-1).push(`${(n * step).toFixed(1)},${(20 - (18 * Math.min(v, high)) / high - 1).toFixed(1)}`);
  });
  const lines = runs.filter((r) => r.length > 1).map((r) => h("polyline", { points: r.join(" ") }));
  return h("svg.sparkline", { viewBox: "0 0 100 20", preserveAspectRatio: "none", role: "img", "aria-label": label }, lines);
}

const SLOTS = { Reachable: "ok", Unknown: "bad" };

// Verdicts in slots of time, oldest first, null for no news. One path for each kind, however many slots; what is well is
// lower, so that what is not stands out without its colour, too.
export function strip(words, label) {
  if (!words?.some(Boolean)) return null;
  const slots = words.map((word) => (word ? SLOTS[word] ?? healthLevel(word) : ""));
  const kinds = [...new Set(slots.filter(Boolean))];
  const paths = kinds.map((kind) =>
    h(`path.${kind}`, { d: slots.map((s, n) => (s === kind ? `M${n * 4} ${kind === "ok" ? 2 : 0}h3v${kind === "ok" ? 8 : 10}h-3z` : "")).join("") }),
  );
  const box = { viewBox: `0 0 ${slots.length * 4} 10`, preserveAspectRatio: "none", role: "img", "aria-label": label };
  const none = slots.map((s, n) => (s ? "" : `M${n * 4} 7h3v3h-3z`)).join("");
  return h("svg.strip", box, h("title", {}, label), none && h("path.none", { d: none }), paths);
}

export function progress(percent, label) {
  const value = percent === null || percent === undefined ? null : Math.round(percent);
  return h("progress", { max: 100, value, "aria-label": label });
}
