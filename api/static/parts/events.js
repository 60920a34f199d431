// Events as rows: what happened again and again is one row with a number.

import { h } from "../core/dom.js";
import { to } from "../core/router.js";
import { MARKS, clock, day } from "../core/words.js";

export function eventRows(events, { most = 50, workload = false } = {}) {
  if (!events.length) return h("p.dim", {}, "Nothing lately.");
  const shown = [...events].reverse().slice(0, most);
  return h("ul.rows", {}, shown.map((e) => row(e, workload)));
}

function row(e, workload) {
  const level = e.type === "Warning" ? "warn" : "dim";
  const today = new Date(e.lastAt * 1000).toDateString() === new Date().toDateString();
  return h("li", { key: `e${e.id}` },
    h("time.dim.small", { datetime: new Date(e.lastAt * 1000).toISOString() }, today ? clock(e.lastAt) : day(e.lastAt)), " ",
    h(`span.chip.${level}`, {}, `${MARKS[level]} ${e.reason}`), e.count > 1 && h("span.small", {}, ` ×${e.count} since ${clock(e.firstAt)}`), " ",
    !workload && e.object.name && [h("a", { href: to(e.object.kind === "spark" ? "sparks" : "workloads", e.object.name) }, e.object.name), " "],
    h("span.why", {}, e.message));
}
