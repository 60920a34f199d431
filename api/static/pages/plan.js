// What the loop is about to do, what it leaves alone, and what waits for a person.

import { ask, at, told } from "../core/api.js";
import { h } from "../core/dom.js";
import { changed, store } from "../core/store.js";
import { many } from "../core/words.js";
import { propose } from "../parts/change.js";
import { planView } from "../parts/plan.js";

let plan = null;
let failed = "";
let known = "";

export function enter() {
  plan = null;
  known = "";
}

async function look(id) {
  known = id;
  try {
    plan = (await ask("/api/plan", { method: "POST" })).body;
    failed = "";
  } catch (error) {
    failed = told(error);
    known = "";
  }
  changed();
}

export function show() {
  const { id } = store.status.plan;
  if (id !== known) look(id);
  return [
    h("h1", {}, "Plan"),
    h("p.dim", {}, "From what was seen to what is declared. What no guard keeps back is done without asking."),
    failed && h("p.box.warn", {}, failed),
    plan && planView(plan),
    plan?.withheld.length > 0 && h("button.act", { type: "button", onclick: approve }, `Approve ${many(plan.withheld.length, "step")} …`),
  ];
}

function approve() {
  const seen = plan;
  propose({
    title: "Release what the guards keep back?",
    word: "Approve",
    reason: false,
    dry: async () => ({ plan: { ...seen, steps: seen.withheld, withheld: [], held: [] } }),
    commit: async () => {
      await ask(at`/api/plans/${seen.id}/apply`, { method: "POST" });
      return "Approved: it is being done.";
    },
  });
}
