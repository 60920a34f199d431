// Every change goes through here: first the plan that the server makes of it, then, on a person's word, the change.
//
// The dialog owns nothing. The server does the work once it has said yes, whether or not this tab is still there.

import { ask, told } from "../core/api.js";
import { h, paint } from "../core/dom.js";
import { many } from "../core/words.js";
import { planView, summary } from "./plan.js";

let shown = 0; // the number of the proposal that the dialog shows; another one, or none, after it was closed

// title: what is about to happen, as a question. dry(): what the server would do of it, as {plan, ...}.
// commit(reason, dryAnswer): does it, and gives a sentence on what was done. `edit`: what to show of the change itself.
export async function propose({ title, dry, commit, edit = null, reason = true, word = "Do it", confirm = "" }) {
  const dialog = document.getElementById("dialog");
  const mine = ++shown;
  const state = { answer: null, error: null, busy: false };
  const close = () => dialog.close();
  const draw = () => mine === shown && paint(dialog, view(state, { mine, title, edit, reason, word, confirm, close, go, again: plan }));

  async function plan() {
    state.answer = state.error = null;
    draw();
    try {
      state.answer = (await dry()) ?? {};
    } catch (error) {
      state.error = told(error);
    }
    draw();
  }

  async function go(event) {
    event.preventDefault();
    const given = new FormData(event.target);
    if (confirm && given.get("confirm") !== confirm) return;
    state.busy = true;
    draw();
    try {
      const said = await commit(given.get("reason")?.trim() ?? "", state.answer);
      close();
      toast(said);
    } catch (error) {
      state.error = told(error);
      state.busy = false;
      if (mine === shown) draw();
      else toast(state.error); // the dialog was closed meanwhile
    }
  }

  dialog.addEventListener("close", () => mine === shown && (shown += 1), { once: true });
  draw();
  if (!dialog.open) dialog.showModal();
  await plan();
}

function view(state, { mine, title, edit, reason, word, confirm, close, go, again }) {
  const { answer, error, busy } = state;
  const plan = answer?.plan;
  return [
    h("h2", { key: "title" }, title),
    edit && h("div", { key: "edit" }, edit),
    error && h("p.box.bad.lines", { key: "error", role: "alert" }, error),
    !answer && !error && h("p.dim", { key: "wait" }, "Making the plan."),
    plan && h("div", { key: "plan" }, planView(plan)),
    answer?.text && h("p", { key: "text" }, answer.text),
    h("form", { key: `form ${mine}`, onsubmit: go }, // its own, so that nothing typed for another one stands in it
      reason && h("label.field", {}, "Why (for the history, may be empty)", h("input", { name: "reason", maxlength: 300, autocomplete: "off" })),
      confirm && h("label.field", {}, `This can't be undone. Type ${confirm} to go on.`, h("input", { name: "confirm", autocomplete: "off", required: true, pattern: confirm.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&") })),
      h("p.buttons", {},
        h("button", { type: "button", autofocus: true, onclick: close }, "Cancel"),
        error && h("button", { type: "button", onclick: again }, "Plan again"),
        h("button.act", { disabled: !answer || busy }, busy ? "Being done" : plan?.steps.length ? `${word}: ${summary(plan)}` : word))),
  ];
}

export function toast(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (place.textContent = ""), 8000);
}

// A change of the desired state: planned as a dry run against the part as it is now, and made only if it still is that.
// method and body as for `path`; with `tag`, if it was read before.
export async function change({ title, path, method, body, word, edit, confirm }) {
  const known = await ask(path).then((found) => found.tag, () => null);
  const headers = known && method !== "POST" ? { "if-match": known } : {};
  return propose({
    title, word, edit, confirm,
    dry: async () => (await ask(`${path}?dryRun=true`, { method, body, headers })).body,
    commit: async (reason) => {
      const asked = `${path}?${new URLSearchParams(reason ? { reason } : {})}`;
      const { body: done } = await ask(asked, { method, body, headers });
      const steps = done.plan.steps.length;
      return `${done.commit ? `Committed ${done.commit.slice(0, 8)}` : "Nothing to commit"}; ${steps ? `${many(steps, "step")} under way` : "nothing to do on the Sparks"}.`;
    },
  });
}
