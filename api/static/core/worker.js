// The one stream of a browser, kept for all its tabs. It folds the status, so that a tab that comes later begins with it,
// and is closed while nobody looks at any of them.

import { patched } from "./patch.js";
import { follow } from "./stream.js";

const HIDDEN = 60000; // ms

const tabs = new Map(); // port -> whether somebody looks at it
let status = null;
let line = "waiting";
let hide;

const FOLD = {
  status: (data) => data,
  patch: (data) => patched(status, data),
};

const stream = follow({
  path: "/api/watch",
  send: (path, options) => fetch(path, options),
  heard: (event) => {
    if (FOLD[event.event]) status = FOLD[event.event](JSON.parse(event.data));
    tell({ event });
  },
  state: (word) => {
    if (word === line) return;
    line = word;
    tell({ line });
  },
});

function tell(message) {
  for (const port of tabs.keys()) port.postMessage(message);
}

function mind() {
  clearTimeout(hide);
  if (![...tabs.values()].some(Boolean)) hide = setTimeout(stream.close, HIDDEN);
  else if (stream.closed() && line !== "refused") stream.soon();
}

const WORDS = {
  looking: (port) => tabs.set(port, true),
  away: (port) => tabs.set(port, false),
  gone: (port) => tabs.delete(port),
  soon: () => stream.soon(),
};

globalThis.onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    const fresh = data === "looking" && !tabs.has(port);
    WORDS[data]?.(port);
    mind();
    if (!fresh) return;
    if (status) port.postMessage({ event: { event: "status", data: JSON.stringify(status) } });
    port.postMessage({ line });
  };
};
globalThis.addEventListener("online", () => stream.closed() && mind());
