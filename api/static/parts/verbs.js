// What can be done about a workload beside running it or not. Each one shows first what the server would do.

import { ask, at, get } from "../core/api.js";
import { h, paint } from "../core/dom.js";
import { change, propose } from "./change.js";

// A verb that is no desired state: planned with dryRun, done without.
function verb({ title, path, word, done }) {
  return propose({
    title, word, reason: false,
    dry: async () => (await ask(`${path}?dryRun=true`, { method: "POST" })).body,
    commit: async () => {
      await ask(path, { method: "POST" });
      return done;
    },
  });
}

export const restart = (name) =>
  verb({ title: `Restart ${name}?`, path: at`/api/workloads/${name}/restart`, word: "Restart", done: `${name} restarts.` });

export const resetBackoff = (name) =>
  verb({ title: `Try ${name} again now?`, path: at`/api/workloads/${name}/reset-backoff`, word: "Try again", done: `${name} is tried again.` });

export const suspend = (name, on) =>
  on
    ? verb({ title: `Leave ${name} alone?`, path: at`/api/workloads/${name}/suspend`, word: "Suspend", done: `Nothing about ${name} is changed from now on.` })
    : verb({ title: `Mind ${name} again?`, path: at`/api/workloads/${name}/resume`, word: "Resume", done: `${name} is minded again.` });

export const spark = (name, word, title, done) =>
  verb({ title, path: at`/api/sparks/${name}/${word}`, word: word[0].toUpperCase() + word.slice(1), done });

export const remove = (name, path) =>
  change({ title: `Remove ${name} from the desired state?`, path, method: "DELETE", word: "Commit" });

// The declaration as JSON, to be changed by hand; what it comes to is planned before it is written.
export async function edit(name, path) {
  const now = await get(path);
  const dialog = document.getElementById("dialog");
  const text = JSON.stringify(now, null, 2);
  const state = { problem: "" };
  const go = (event) => {
    event.preventDefault();
    try {
      const body = JSON.parse(new FormData(event.target).get("text"));
      change({ title: `Change ${name}?`, path, method: "PUT", body, word: "Commit", edit: difference(text, JSON.stringify(body, null, 2)) });
    } catch (error) {
      state.problem = `This is not JSON: ${error.message}`;
      draw();
    }
  };
  const draw = () =>
    paint(dialog,
      h("h2", { key: "title" }, `Edit ${name}`),
      state.problem && h("p.box.bad", { key: "error", role: "alert" }, state.problem),
      h("form", { key: `edit ${name}`, onsubmit: go },
        h("label.field", {}, "As it is declared (JSON; comments in the file are kept)", h("textarea", { name: "text", rows: 14, spellcheck: "false", text })),
        h("p.buttons", {}, h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Cancel"), h("button.act", {}, "Show the plan"))));
  draw();
  dialog.showModal();
}

// Lines that went and lines that came; those in common at both ends are left out.
export function difference(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const gone = a.slice(head, a.length - tail).map((line) => h("span.minus", {}, `- ${line}\n`));
  const came = b.slice(head, b.length - tail).map((line) => h("span.plus", {}, `+ ${line}\n`));
  return gone.length + came.length ? h("pre.diff", {}, gone, came) : h("p.dim", {}, "Nothing is different.");
}
