// The gear: one form made of the server's own list of settings. What is saved applies at once, and is a commit.

import { ask, get, told } from "../core/api.js";
import { h } from "../core/dom.js";
import { changed } from "../core/store.js";
import { propose } from "../parts/change.js";

let found = null;
let failed = "";
let filter = "";
let errors = {};

export function enter() {
  found = null;
  errors = {};
  look();
}

async function look() {
  try {
    found = await get("/api/settings");
    failed = "";
  } catch (error) {
    failed = told(error);
  }
  changed();
}

export function show() {
  const fields = found?.fields.filter((f) => `${f.name} ${f.help} ${f.steers}`.toLowerCase().includes(filter)) ?? [];
  const fixed = fields.filter((f) => f.readOnly);
  return [
    h("h1", {}, "Settings"),
    h("p.dim", {}, "A saved setting lies over the environment, which lies over the default. Saving is a commit, and applies at once."),
    failed && h("p.box.warn", {}, failed),
    found && h("p", { key: "filter" }, h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter settings", oninput: typed })),
    found && h("form", { key: `form ${found.tag}`, onsubmit: save },
      sections(fields.filter((f) => !f.readOnly)),
      h("p.buttons", {}, h("button.act", {}, "Show the plan"))),
    fixed.length > 0 && h("section", { key: "fixed" },
      h("h2", {}, "Set when the server starts"),
      h("dl.pairs", {}, fixed.map((f) => [
        h("dt", {}, f.flag ?? f.name),
        h("dd", {}, h("code", {}, words(found.values[f.name])), h("span.dim.small", {}, ` ${f.source} · ${f.help}`)),
      ]))),
  ];
}

function typed(event) {
  filter = event.target.value.toLowerCase();
  changed();
}

function sections(fields) {
  const names = [...new Set(fields.map((f) => f.name.split(".")[0]))];
  return names.map((name) =>
    h("section", { key: name }, h("h2", {}, name === "settings" ? "Knobs" : name[0].toUpperCase() + name.slice(1)), fields.filter((f) => f.name.startsWith(`${name}.`)).map(field)));
}

function field(f) {
  const wrong = errors[f.name];
  const id = `field ${f.name}`;
  return h("div.setting", { key: f.name },
    h("label.name", { for: id }, f.name.split(".").slice(1).join(".")),
    input(f, id),
    h("p.small", { id: `${id} help` }, f.help, f.allowed.length > 0 && h("span.dim", {}, ` Allowed: ${f.allowed.join(", ")}.`)),
    wrong && h("p.bad", { role: "alert" }, wrong),
    h("p.small.dim", {},
      f.source === "saved" ? `saved${f.place ? ` in ${f.place}` : ""}; below it lies ${words(f.base)} ` : f.source === "environment" ? `from ${f.place}` : "the default",
      f.source === "saved" && h("label", {}, h("input", { type: "checkbox", name: `unset ${f.name}` }), " take it away")));
}

function input(f, id) {
  const value = found.values[f.name];
  const given = { id, name: f.name, "aria-describedby": `${id} help`, "aria-invalid": f.name in errors ? "true" : null };
  if (f.schema.type === "boolean") return h("select", given, [true, false].map((v) => h("option", { value: String(v), selected: value === v }, v ? "yes" : "no")));
  if (f.schema.enum) return h("select", given, f.schema.enum.map((v) => h("option", { value: v, selected: value === v }, v)));
  if (value !== null && typeof value === "object") return h("textarea", { ...given, rows: 3, spellcheck: "false", text: JSON.stringify(value, null, 1) });
  return h("input", { ...given, value: value ?? "", autocomplete: "off" });
}

const words = (value) => (value === null ? "not set" : typeof value === "string" ? value : JSON.stringify(value));

// What was changed, in the type that it has.
function edited(form) {
  const values = {};
  for (const f of found.fields.filter((each) => !each.readOnly)) {
    const value = found.values[f.name];
    if (form.get(`unset ${f.name}`)) values[f.name] = null;
    else if (form.has(f.name)) {
      const now = parsed(value, form.get(f.name));
      if (JSON.stringify(now) !== JSON.stringify(value)) values[f.name] = now;
    }
  }
  return values;
}

// What is no value of its type goes as it was typed: the server says what is wrong with it.
function parsed(before, text) {
  if (typeof before === "string") return text;
  if (before === null && text === "") return null; // was not set, and is not
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function save(event) {
  event.preventDefault();
  const values = edited(new FormData(event.target));
  const names = Object.keys(values);
  const body = (reason) => ({ values, tag: found.tag, ...(reason ? { reason } : {}) });
  errors = {};
  if (!names.length) {
    failed = "Nothing was changed.";
    return changed();
  }
  failed = "";
  propose({
    title: `Save ${names.join(", ")}?`,
    word: "Commit",
    edit: h("pre.diff", {}, names.map((name) => [
      h("span.minus", {}, `- ${name}: ${words(found.values[name])}\n`),
      h("span.plus", {}, `+ ${name}: ${values[name] === null ? "(what lies below)" : words(values[name])}\n`)])),
    dry: async () => {
      try {
        return (await ask("/api/settings?dryRun=true", { method: "POST", body: body("") })).body;
      } catch (error) {
        errors = Object.fromEntries((error.body?.problems ?? []).map((p) => [p.field, p.message]));
        changed();
        throw error;
      }
    },
    commit: async (reason) => {
      const { body: done } = await ask("/api/settings", { method: "POST", body: body(reason) });
      await look();
      return done.commit ? `Saved as ${done.commit.slice(0, 8)}, and in force.` : "Nothing was to be saved.";
    },
  });
}
