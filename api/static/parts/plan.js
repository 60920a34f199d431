// A plan for people: one sentence, what stops, what is left alone and why, and the exact commands of each Spark.

import { h } from "../core/dom.js";
import { clock, many } from "../core/words.js";

const SIGNS = { create: "+", start: "+", pull: "↓", fetch: "↓", build: "⚒", stop: "−", remove: "−", kill: "−", update: "~" };
const FIRST = 60; // steps shown; the rest as a number

export function summary(plan) {
  const on = new Set(plan.steps.map((s) => s.spark)).size;
  return `${many(plan.steps.length, "step")} on ${many(on, "Spark")}`;
}

export function verdictOf(plan) {
  if (!plan.steps.length && !plan.withheld.length) return "Nothing is to be done on the Sparks.";
  const stopped = named(plan.steps.filter((s) => s.verb === "stop" || s.verb === "kill"));
  const created = named(plan.steps.filter((s) => s.verb === "create"));
  const parts = [];
  if (stopped) parts.push(`stops ${stopped}`);
  if (created) parts.push(`starts ${created}`);
  const fetched = named(plan.steps.filter((s) => s.verb === "pull" || s.verb === "fetch"));
  if (fetched) parts.push(`fetches what ${fetched} needs before it starts`);
  const built = named(plan.steps.filter((s) => s.verb === "build"));
  if (built) parts.push(`builds the image of ${built}`);
  const text = parts.length ? parts.join(", ") : summary(plan);
  const kept = plan.withheld.length ? ` ${many(plan.withheld.length, "step waits", "steps wait")} for approval.` : "";
  return `${text[0].toUpperCase()}${text.slice(1)}.${kept}`;
}

function named(steps) {
  const found = [...new Set(steps.map((s) => `${s.workload} on ${s.spark}`))];
  return found.length > 3 ? `${found.slice(0, 3).join(", ")} and ${found.length - 3} more` : found.join(", ");
}

export function planView(plan) {
  return h("div.plan", {},
    h("p.verdict", {}, verdictOf(plan)),
    plan.withheld.length > 0 && [h("h3", {}, "Waits for approval"), steps(plan.withheld)],
    plan.steps.length > 0 && steps(plan.steps),
    plan.held.length > 0 && [h("h3", {}, "Left alone"), h("ul.rows", {}, plan.held.slice(0, FIRST).map(held))],
    plan.unknown.length > 0 && h("p.dim", {}, `Unknown, and so not touched: ${plan.unknown.join(", ")}.`));
}

function steps(found) {
  return h("ol.steps", {},
    found.slice(0, FIRST).map((step) =>
      h(`li${step.destructive ? ".destructive" : ""}`, {},
        h("span.sign", { "aria-hidden": "true" }, SIGNS[step.verb] ?? "·"),
        h("div", {},
          h("strong", {}, `${step.verb} ${step.workload}`), ` on ${step.spark}`,
          h("p.small", {}, step.cause, step.consequence && `: ${step.consequence}`),
          step.command && h("details", {}, h("summary", {}, "Command"), h("pre", {}, step.command))))),
    found.length > FIRST && h("li", {}, `and ${found.length - FIRST} more`));
}

function held(each) {
  const until = each.until ? ` (until ${clock(each.until)})` : "";
  return h("li", {}, h("strong", {}, `${each.workload} on ${each.spark}`), `: ${each.message}${until}`);
}
