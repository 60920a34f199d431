// Numbers, times and verdicts as people read them.

const GIB = 2 ** 30;

export const gib = (bytes, digits = 1) => (bytes / GIB).toFixed(digits);

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "unknown";
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const step = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), 4);
  return `${(bytes / 1024 ** step).toFixed(step > 2 ? 1 : 0)} ${units[step]}`;
}

export function span(seconds) {
  if (seconds < 100) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export const ago = (unix) => (unix ? `${span(Date.now() / 1000 - unix)} ago` : "never");
export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour12: false });
export const day = (unix) => new Date(unix * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
export const many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;

// How a verdict looks: its level gives colour, its mark gives shape; the word itself always stands beside them.
const HEALTH = { Healthy: "ok", Progressing: "run", Degraded: "bad", Missing: "bad", Suspended: "dim", Unknown: "dim" };
const SYNC = { Synced: "ok", OutOfSync: "warn", Unknown: "dim" };
export const MARKS = { ok: "●", run: "◐", warn: "▲", bad: "■", dim: "○" };

export const healthLevel = (health) => HEALTH[health] ?? "dim";
export const syncLevel = (sync) => SYNC[sync] ?? "dim";

// Worst first; what was stopped on purpose comes last.
const URGENCY = { bad: 0, warn: 1, run: 2, dim: 3, ok: 4 };
export function urgency(workload) {
  if (workload.health === "Suspended" && workload.sync === "Synced") return 5;
  return Math.min(URGENCY[healthLevel(workload.health)], URGENCY[syncLevel(workload.sync)]);
}

export function sparkLevel(spark) {
  if (!spark.reachable) return "bad";
  return spark.cordoned || spark.drained || (spark.lease && !spark.lease.ours) ? "warn" : "ok";
}

export function sparkWord(spark) {
  if (!spark.reachable) return "Unknown";
  if (spark.drained) return "Drained";
  if (spark.cordoned) return "Cordoned";
  return spark.lease && !spark.lease.ours ? spark.lease.reason : "Reachable";
}
