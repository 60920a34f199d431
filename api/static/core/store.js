// What is known of the fleet: the status as the stream folds it, what happened lately, and how old all that is.
//
// Whoever shows it says so with `onChange`; however much arrives, pages are painted once per frame.

import { get } from "./api.js";
import { listen } from "./line.js";
import { patched } from "./patch.js";

const KEPT = 300; // events
const STALE = 40; // seconds without a word from the server

export const store = {
  status: null, // as `GET /api/status` gives it
  events: [], // newest last
  series: {}, // spark -> columns of samples, newest last
  uptime: { sparks: {}, workloads: {} }, // the last day in slots
  heardAt: 0, // Unix seconds
  line: "waiting", // live, waiting or refused
};

const listeners = new Set();
let due = false;

export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function changed() {
  if (due) return;
  due = true;
  const go = () => {
    due = false;
    for (const listener of listeners) listener();
  };
  // a page that is out of sight gets no frames, but its title still tells
  if (document.hidden) setTimeout(go, 1000);
  else requestAnimationFrame(go);
}

export const stale = () => !store.status || Date.now() / 1000 - store.heardAt > STALE;

const HEARD = {
  status: (data) => {
    store.status = data;
  },
  patch: (data) => {
    store.status = patched(store.status, data);
  },
  event: (data) => {
    const others = store.events.filter((e) => e.id !== data.id); // one that happened again moves to the end
    store.events = [...others, data].slice(-KEPT);
  },
  reset: () => recent(),
};

function heard({ event, data }) {
  store.heardAt = Date.now() / 1000;
  HEARD[event]?.(JSON.parse(data));
  changed();
}

async function recent() {
  store.events = (await get("/api/events?limit=100&follow=false")).events;
  changed();
}

export async function sampled() {
  const [series, uptime] = await Promise.all([get("/api/series"), get("/api/uptime")]);
  store.series = series.sparks;
  store.uptime = uptime;
  changed();
}

// The first look need not wait for the stream, whose worker has to be started.
async function first() {
  const status = await get("/api/status");
  if (store.status) return;
  store.status = status;
  store.heardAt = Date.now() / 1000;
  changed();
}

// Gives a function that tries the line at once.
export function begin() {
  first().catch(() => {}); // why not is told by the line
  const soon = listen(heard, (line) => {
    if (line === store.line) return;
    store.line = line;
    if (line === "live") {
      recent().catch(() => {}); // the stream brings what comes; what was may wait for the next time
      sampled().catch(() => {});
    }
    changed();
  });
  setInterval(() => !document.hidden && changed(), 5000); // ages grow
  setInterval(() => !document.hidden && store.line === "live" && sampled().catch(() => {}), 60000);
  return soon;
}
