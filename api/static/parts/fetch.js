// Has a Spark fetch weights before anything needs them.

import { ask, at, told } from "../core/api.js";
import { h, paint } from "../core/dom.js";
import { toast } from "./change.js";

export function openFetch(model, sparks) {
  const dialog = document.getElementById("dialog");
  let failed = "";

  async function go(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const quant = form.get("quant").trim();
    try {
      const body = { repository: model.repository, revision: form.get("revision").trim() || "main", ...(quant ? { quant } : {}) };
      const { body: found } = await ask(at`/api/weights/${form.get("on")}/fetch`, { method: "POST", body });
      dialog.close();
      toast(`${found.spark} fetches ${found.repository}: ${found.state}.`);
    } catch (error) {
      failed = told(error);
      draw();
    }
  }

  const draw = () =>
    paint(dialog,
      h("h2", { key: "title" }, `Fetch ${model.repository}?`),
      failed && h("p.box.bad", { key: "error", role: "alert" }, failed),
      h("form", { key: `fetch ${model.repository}`, onsubmit: go },
        h("p", {}, "Into the Spark's own cache. It goes on if this page is closed, and what is there already is kept."),
        h("label.field", {}, "To", h("select", { name: "on" }, sparks.map((s) => h("option", { value: s }, s)))),
        h("label.field", {}, "Revision (a branch, tag or commit)", h("input", { name: "revision", value: "main", autocomplete: "off" })),
        h("label.field", {}, "Which of several GGUF variants (may be empty)", h("input", { name: "quant", autocomplete: "off" })),
        h("p.buttons", {}, h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Cancel"), h("button.act", {}, "Fetch"))));
  draw();
  dialog.showModal();
}
