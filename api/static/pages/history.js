// The commits of the desired state: who changed what and why, the difference, and the way back as a new commit.

import { ask, at, get, told } from "../core/api.js";
import { h } from "../core/dom.js";
import { changed, store } from "../core/store.js";
import { ago, day } from "../core/words.js";
import { propose, toast } from "../parts/change.js";

let commits = null;
let failed = "";
let known = null;
let diffs = {};

async function look(revision) {
  known = revision;
  try {
    commits = (await get("/api/history?limit=100")).commits;
    failed = "";
  } catch (error) {
    failed = told(error);
  }
  changed();
}

export function enter() {
  known = null;
  diffs = {};
}

export function show() {
  const { checkout } = store.status;
  if (!checkout) return [h("h1", {}, "History"), h("p", {}, "This server keeps no history: its desired state is not under git.")];
  if (checkout.revision !== known) look(checkout.revision);
  return [
    h("h1", {}, "History"),
    stand(checkout),
    failed && h("p.box.warn", {}, failed),
    !commits && !failed && h("p.dim", {}, "Reading the history."),
    commits && h("ol.rows", {}, commits.map((c, n) => row(c, n, commits[n + 1]))),
  ];
}

function stand(checkout) {
  const { remote, dirty } = checkout;
  return h("section", {},
    h("p", {}, `On ${checkout.branch || "no branch"} at `, h("code", {}, checkout.revision?.slice(0, 10) ?? "nothing"), dirty.length ? `, with hand edits in ${dirty.join(", ")} that are in force and not committed.` : ", as committed."),
    dirty.length > 0 && h("p", {}, h("button", { type: "button", onclick: () => difference("HEAD") }, "What was edited by hand"), diffs.HEAD && h("pre.diff", {}, coloured(diffs.HEAD))),
    checkout.problem && h("p.box.warn", {}, checkout.problem),
    remote && [
      h(remote.good ? "p" : "p.box.warn", {}, remote.message || `In step with ${remote.upstream ?? "the remote"}.`, remote.files.length > 0 && ` In the way: ${remote.files.join(", ")}.`, remote.since && ` Since ${ago(remote.since).replace(" ago", "")}.`),
      h("button", { type: "button", onclick: sync }, "Sync with the remote now"),
    ]);
}

function row(c, n, before) {
  return h("li", { key: c.revision },
    h("div", {},
      h("p", {}, h("strong", {}, c.subject), n === 0 && h("span.dim", {}, " (newest)")),
      c.reason && h("p.lines.small", {}, c.reason),
      h("p.small.dim", {}, h("code", {}, c.revision.slice(0, 10)), ` · ${c.author} · `, h("time", { datetime: new Date(c.time * 1000).toISOString() }, day(c.time))),
      h("p.buttons", {},
        before && h("button.quiet", { type: "button", onclick: () => difference(c.revision, before.revision) }, diffs[c.revision] === undefined ? "What it changed" : "Hide"),
        n > 0 && h("button.quiet", { type: "button", onclick: () => back(c) }, "Go back to this …")),
      diffs[c.revision] !== undefined && h("pre.diff", { tabindex: "0" }, coloured(diffs[c.revision]))));
}

async function difference(revision, before) {
  if (diffs[revision] !== undefined) delete diffs[revision];
  else {
    try {
      const asked = before ? `${at`/api/history/${before}/diff`}?to=${revision}` : at`/api/history/${revision}/diff`;
      diffs[revision] = (await get(asked)).diff || "Nothing in the desired state.";
    } catch (error) {
      diffs[revision] = told(error);
    }
  }
  changed();
}

function coloured(diff) {
  return diff.split("\n").filter((line) => !/^(diff|index|---|\+\+\+) /.test(line)).map((line) => {
    const kind = { "+": "span.plus", "-": "span.minus", "@": "span.hunk" }[line[0]];
    return kind ? h(kind, {}, `${line}\n`) : `${line}\n`;
  });
}

function back(c) {
  propose({
    title: `Go back to “${c.subject}”?`,
    word: "Commit",
    dry: async () => (await ask("/api/rollback?dryRun=true", { method: "POST", body: { revision: c.revision } })).body,
    commit: async (reason) => {
      const { body } = await ask("/api/rollback", { method: "POST", body: { revision: c.revision, ...(reason ? { reason } : {}) } });
      return body.commit ? `Committed ${body.commit.slice(0, 8)}: the desired state is as it was then.` : "It is as it was then already.";
    },
  });
}

async function sync() {
  try {
    await ask("/api/sync", { method: "POST" });
    toast("Synced.");
  } catch (error) {
    toast(told(error));
  }
}
