// Declares a model that lies on a disk: with a recipe that fits, or with one written out in place to look over.

import { h, paint } from "../core/dom.js";
import { store } from "../core/store.js";
import { change } from "./change.js";

const RUNS = ["always", "on-demand", "never"];
const BLANK = { engine: "vllm", model: "", image: "", port: 8000, memory: "32GiB" };

export function openSetup(model, sparks) {
  const dialog = document.getElementById("dialog");
  const there = Object.keys(model.sparks);
  const own = model.recipes.length ? null : (model.inferred ?? { ...BLANK, engine: model.kind === "gguf" ? "llamacpp" : "vllm", model: model.repository || model.file });
  let problem = "";

  function go(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    let recipe = form.get("recipe");
    try {
      recipe ??= JSON.parse(form.get("own"));
    } catch (error) {
      problem = `The recipe is not JSON: ${error.message}`;
      return draw();
    }
    const name = form.get("name").trim();
    change({
      title: `Declare ${name}?`,
      path: `/api/desired/models/${encodeURIComponent(name)}`,
      method: "PUT",
      body: { recipe, on: form.get("on"), run: form.get("run"), ...(form.get("port") ? { port: Number(form.get("port")) } : {}) },
      word: "Commit",
    });
  }

  const draw = () =>
    paint(dialog,
      h("h2", { key: "title" }, `Set up ${model.repository || model.file}`),
      problem && h("p.box.bad", { key: "error", role: "alert" }, problem),
      h("form", { key: `setup ${model.repository} ${model.file ?? ""}`, onsubmit: go },
        h("label.field", {}, "Name that apps use", h("input", { name: "name", required: true, value: named(model), pattern: "[a-z0-9]([a-z0-9._\\-]*[a-z0-9])?", autocomplete: "off" })),
        h("label.field", {}, "On", h("select", { name: "on" }, [...new Set([...there, ...sparks])].map((s) => h("option", { value: s }, there.includes(s) ? `${s} (it lies there)` : s)), h("option", { value: "any" }, "any Spark"))),
        h("label.field", {}, "Port (empty: the recipe's)", h("input", { name: "port", type: "number", min: 1, max: 65535, value: freePort(own) })),
        h("label.field", {}, "Run", h("select", { name: "run" }, RUNS.map((r) => h("option", { value: r }, r)))),
        own
          ? h("label.field", {}, model.inferred ? "Recipe, inferred from its files: look it over" : "Recipe (JSON; docs/DESIRED.md says what there is)", h("textarea", { name: "own", rows: 10, spellcheck: "false", text: JSON.stringify(own, null, 2) }))
          : h("label.field", {}, "Recipe", h("select", { name: "recipe" }, model.recipes.map((r) => h("option", { value: r }, r)))),
        h("p.buttons", {}, h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Cancel"), h("button.act", {}, "Show the plan"))));
  draw();
  dialog.showModal();
}

// The first port from the recipe's own on that nothing declared has, or nothing if that is the recipe's own.
function freePort(own) {
  const taken = new Set(Object.values(store.status.workloads).flatMap((w) => w.instances.map((i) => i.port)));
  const wanted = own?.port ?? BLANK.port;
  let port = wanted;
  while (taken.has(port)) port += 1;
  return port === wanted ? "" : port;
}

const named = (model) =>
  (model.repository || model.file).split("/").at(-1).toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 40);
