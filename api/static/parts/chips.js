// The two verdicts, always in this order and never merged: a shape, a colour and the word itself.

import { h } from "../core/dom.js";
import { stale } from "../core/store.js";
import { MARKS, healthLevel, sparkLevel, sparkWord, syncLevel } from "../core/words.js";

// What is old is never green, whatever it was.
export function chip(level, word, title) {
  const shown = stale() ? "dim" : level;
  return h(`span.chip.${shown}`, { title }, `${MARKS[shown]} ${word}`);
}

export const sync = (w) => chip(syncLevel(w.sync), w.sync, "Sync: is it as declared?");
export const health = (w) => chip(healthLevel(w.health), w.health, "Health: does it serve?");
export const reach = (s) => chip(sparkLevel(s), sparkWord(s), s.reachable ? undefined : s.reason);
