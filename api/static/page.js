// The plain page: the status as words, every few seconds. It changes nothing; the dashboard proper is another page.
const EVERY = 3000;
let timer;
const MARKS = { ok: "●", warn: "▲", bad: "■", dim: "○" };
const HEALTH = { Healthy: "ok", Progressing: "warn", Degraded: "bad", Missing: "bad", Suspended: "dim", Unknown: "warn" };

const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function card(level, name, word, lines) {
  const item = element("li", level);
  item.append(element("p", "name", name), element("p", "word", `${MARKS[level]} ${word}`));
  for (const line of lines.filter(Boolean)) item.append(element("p", "dim", line));
  return item;
}

function workload([name, w]) {
  const level = w.sync === "OutOfSync" && w.health === "Healthy" ? "warn" : HEALTH[w.health] ?? "warn";
  const where = w.instances.map((i) => (i.port ? `${i.spark}:${i.port}` : i.spark)).join(", ");
  return card(level, name, `${w.sync} · ${w.health}`, [where || "nowhere", w.message]);
}

function spark([name, s]) {
  const level = s.reachable ? (s.drained || s.cordoned ? "warn" : "ok") : "bad";
  const word = s.reachable ? (s.drained ? "Draining" : s.cordoned ? "Cordoned" : "Reachable") : `Unknown: ${s.reason}`;
  const memory = s.facts && `${gib(s.facts.memoryAvailable)} of ${gib(s.facts.memoryTotal)} memory left`;
  const foreign = s.foreign.length && `${s.foreign.length} ${s.foreign.length === 1 ? "container that is" : "containers that are"} not ours`;
  return card(level, name, word, [s.host, memory, foreign, s.reachable ? "" : s.message]);
}

function fill(list, entries, empty) {
  list.replaceChildren(...(entries.length ? entries : [element("li", "dim", empty)]));
}

function show(status) {
  const workloads = Object.entries(status.workloads);
  const synced = workloads.filter(([, w]) => w.sync === "Synced").length;
  const gone = Object.values(status.sparks).filter((s) => !s.reachable).length;
  const parts = [`${synced} of ${workloads.length} workloads as declared`];
  if (gone) parts.push(`${gone} Sparks do not answer`);
  if (status.plan.withheld) parts.push(`${status.plan.withheld} steps wait for approval: sparkkeep apply`);
  say(parts.join(" · "));
  const problems = document.querySelector("#problems");
  problems.hidden = status.problems.length === 0;
  problems.querySelector("ul").replaceChildren(...status.problems.map((p) => element("li", "", p.text)));
  fill(document.querySelector("#workloads"), workloads.map(workload), "Nothing is declared yet.");
  fill(document.querySelector("#sparks"), Object.entries(status.sparks).map(spark), "No Spark is declared yet.");
}

function say(text) {
  const verdict = document.querySelector("#verdict");
  if (verdict.textContent !== text) verdict.textContent = text;
}

async function refresh() {
  try {
    const answer = await fetch("/api/status");
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    say(`No news for a while: ${error.message}`);
  }
  timer = setTimeout(refresh, document.hidden ? 10 * EVERY : EVERY);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  clearTimeout(timer);
  refresh();
});
refresh();
