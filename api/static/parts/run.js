// When a workload runs: always, on demand, or never. Choosing shows the plan; only the plan's button changes anything.

import { at } from "../core/api.js";
import { h, paint } from "../core/dom.js";
import { change } from "./change.js";

const CHOICES = {
  always: "kept running",
  "on-demand": "started when somebody asks for it, stopped when unused",
  never: "stopped, and kept declared",
};

export const part = (name, kind) => at`/api/desired/` + (kind === "service" ? "services/" : "models/") + encodeURIComponent(name);

export function changeRun(name, workload) {
  const dialog = document.getElementById("dialog");
  const choose = (run) =>
    change({
      title: `Run ${name} ${run}?`,
      path: part(name, workload.kind),
      method: "PATCH",
      body: { run },
      word: "Commit",
      edit: h("pre.diff", {}, h("span.minus", {}, `- run: ${workload.run}\n`), h("span.plus", {}, `+ run: ${run}\n`)),
    });
  paint(
    dialog,
    h("h2", { key: "title" }, `When shall ${name} run?`),
    h("ul.choices", { key: "choices" },
      Object.entries(CHOICES).map(([run, what]) =>
        h("li", {}, h("button", { type: "button", "aria-pressed": String(run === workload.run), disabled: run === workload.run, onclick: () => choose(run) }, run), " ", what))),
    h("form", { key: "form", method: "dialog" }, h("p.buttons", {}, h("button", { autofocus: true }, "Cancel"))),
  );
  dialog.showModal();
}
