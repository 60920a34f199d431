// A container's log as it is written, with a filter. It follows the end until somebody scrolls up.

import { at, send, told } from "../core/api.js";
import { h } from "../core/dom.js";
import { changed } from "../core/store.js";

const KEPT = 5000; // lines
const SHOWN = 500; // of those that match
const NEAR = 40; // pixels from the end

export function openLog(name) {
  const lines = [];
  let rest = "";
  let filter = "";
  let state = "opening";
  let following = true;
  let fresh = 0;
  const stop = new AbortController();

  async function read() {
    try {
      const answer = await send(`${at`/api/workloads/${name}/logs`}?tail=500&follow=true`, { signal: stop.signal });
      if (!answer.ok) throw new Error((await answer.json()).message);
      state = "";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        take(value);
      }
      state = "The log has ended: the container is gone, or the server restarts.";
    } catch (error) {
      if (!stop.signal.aborted) state = told(error);
    }
    changed();
  }

  function take(text) {
    const found = (rest + text).split("\n");
    rest = found.pop();
    lines.push(...found.map(plain));
    if (lines.length > KEPT) lines.splice(0, lines.length - KEPT);
    if (!following) fresh += found.length;
    changed();
  }

  function matching() {
    if (!filter) return lines;
    try {
      const pattern = new RegExp(filter, "i");
      return lines.filter((line) => pattern.test(line));
    } catch {
      return lines.filter((line) => line.includes(filter));
    }
  }

  function scrolled(event) {
    const box = event.target;
    following = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    if (following) fresh = 0;
    changed();
  }

  function typed(event) {
    filter = event.target.value;
    changed();
  }

  function down() {
    following = true;
    fresh = 0;
    changed();
  }

  function view() {
    const found = matching();
    queueMicrotask(() => {
      const box = document.getElementById("log-lines");
      if (box && following) box.scrollTop = box.scrollHeight;
    });
    return [
      h("p.line", {},
        h("input", { type: "search", placeholder: "Filter (text or pattern)", "aria-label": "Filter the log", oninput: typed }),
        h("span.dim.small", {}, filter ? `${found.length} of ${lines.length} lines` : `${lines.length} lines`),
        h("a", { href: whole(name), download: `${name}.log` }, "Download")),
      state && h("p.box.warn", {}, state === "opening" ? "Opening the log." : state),
      h("pre.log", { id: "log-lines", tabindex: "0", role: "log", "aria-live": "off", "aria-label": `Log of ${name}`, onscroll: scrolled,
        text: found.slice(-SHOWN).join("\n") }),
      fresh > 0 && h("button", { type: "button", onclick: down }, `${fresh} new lines`),
    ];
  }

  read();
  return { view, close: () => stop.abort() };
}

const whole = (name) => `${at`/api/workloads/${name}/logs`}?tail=100000`;

// Colours and cursor moves are for terminals; of a line that redraws itself the last state counts.
function plain(line) {
  return line.replaceAll(/\u001b\[[0-9;?]*[A-Za-z]/g, "").replace(/\r$/, "").split("\r").at(-1);
}
