// The fleet in one sentence, in the tab's title and in its icon.

import { many } from "./words.js";

export function counts(status) {
  const workloads = Object.values(status.workloads);
  return {
    all: workloads.length,
    well: workloads.filter((w) => w.health === "Healthy").length,
    wanted: workloads.filter((w) => w.health !== "Suspended").length,
    differ: workloads.filter((w) => w.sync === "OutOfSync").length,
    ill: workloads.filter((w) => w.health === "Degraded" || w.health === "Missing").length,
    gone: Object.values(status.sparks).filter((s) => !s.reachable).length,
  };
}

export function verdict(status) {
  const n = counts(status);
  if (!n.all) return "Nothing is declared yet.";
  const parts = [n.wanted ? `${n.well} of ${many(n.wanted, "workload")} healthy` : "Nothing is meant to run"];
  parts.push(n.differ ? `${n.differ} not as declared` : "all as declared");
  if (n.gone) parts.push(`${many(n.gone, "Spark does", "Sparks do")} not answer`);
  if (status.plan.withheld) parts.push(`${many(status.plan.withheld, "step waits", "steps wait")} for approval`);
  if (status.problems.length) parts.push("the file has mistakes; the last good state stays in force");
  return parts.join(" · ");
}

export function title(status, stale) {
  if (!status || stale) return "○ sparkkeep";
  const n = counts(status);
  const trouble = n.ill + n.gone;
  return trouble ? `(${trouble}) sparkkeep` : "sparkkeep";
}

let drawn;

// The number of what is ill, drawn only when it changes.
export function icon(link, status, stale) {
  const n = status && !stale ? counts(status) : null;
  const wanted = n ? String(n.ill + n.gone) : "?";
  if (wanted === drawn) return;
  drawn = wanted;
  const colour = { "?": "#808a94", 0: "#048379" }[wanted] ?? "#b3261e";
  const text = wanted === "0" ? "" : `<text x="16" y="23" font-family="sans-serif" font-size="20" font-weight="700" text-anchor="middle" fill="#fff">${wanted}</text>`;
  const image = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="${colour}"/>${text}</svg>`;
  link.href = `data:image/svg+xml,${encodeURIComponent(image)}`;
}
