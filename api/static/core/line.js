// Where the news come from: one stream for all tabs of this browser, which a worker keeps. Over plain HTTP a browser opens
// six connections to a server, so that a stream for each tab would leave none for anything else. A stream of this tab's own
// is for browsers without shared workers (some phones), and for a token, which belongs to the tab that it was typed into.

import { send, token } from "./api.js";
import { follow } from "./stream.js";

const HIDDEN = 60000; // ms out of sight after which a stream of the tab's own is closed

// `heard(event)` and `state(word)` as in `follow`. Gives a function that tries at once.
export function listen(heard, state) {
  let again = () => {};
  const own = () => {
    again = alone(heard, state);
  };
  if (token.get() || !globalThis.SharedWorker) own();
  else again = together(heard, (word) => (word === "refused" ? own() : state(word)), own);
  return () => again();
}

function together(heard, state, otherwise) {
  const worker = new SharedWorker(trusted(new URL("worker.js", import.meta.url).href), { type: "module", name: "sparkkeep" });
  const { port } = worker;
  const tell = () => port.postMessage(document.hidden ? "away" : "looking");
  const leave = () => port.postMessage("gone");
  worker.onerror = otherwise; // it could not be started
  port.onmessage = ({ data: { event, line } }) => {
    if (line === "refused") leave();
    if (line) state(line);
    if (event) heard(event);
  };
  document.addEventListener("visibilitychange", tell);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", tell);
  tell();
  return () => port.postMessage("soon");
}

function alone(heard, state) {
  let hide;
  const stream = follow({ path: "/api/watch", send, heard, state });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hide);
    if (document.hidden) hide = setTimeout(stream.close, HIDDEN);
    else if (stream.closed()) stream.soon();
  });
  addEventListener("online", () => stream.closed() && stream.soon());
  return stream.soon;
}

// The page's policy wants a word for each address that a script is loaded from; this one is of our own folder.
function trusted(url) {
  return globalThis.trustedTypes?.createPolicy("sparkkeep", { createScriptURL: (own) => own }).createScriptURL(url) ?? url;
}
