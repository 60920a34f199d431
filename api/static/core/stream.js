// A stream of server-sent events over fetch, which unlike EventSource can show a token, see why it was refused, and be
// closed. It goes on where it broke off, and asks less and less often. It knows no page: workers use it too.

const SILENT = 30000; // ms: the server says something each 12 s
const FIRST = 1000;
const SLOWEST = 30000;

// Parts a text into events as it comes: `feed(text)` gives those that are complete.
export function parser() {
  let rest = "";
  return (text) => {
    const blocks = (rest + text).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    return blocks.map(event).filter(Boolean);
  };
}

function event(block) {
  const found = { event: "message", data: [], id: undefined };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (line.startsWith("data")) found.data.push(value);
    else found[line.slice(0, colon)] = value;
  }
  return found.data.length ? { ...found, data: found.data.join("\n") } : null;
}

// `send(path, options)` asks; `heard(event)` for each event; `state(word)`: live, waiting, or refused (a token is wanted,
// and nothing more is tried). Gives `soon()`, which tries at once, `close()`, and `closed()`.
export function follow({ path, send, heard, state }) {
  let last;
  let wait = FIRST;
  let open; // the AbortController of the stream that is open
  let alarm; // for silence, or for the next try

  async function run() {
    clearTimeout(alarm);
    open = new AbortController();
    const mine = open;
    try {
      const answer = await send(path, {
        headers: last ? { "last-event-id": last, accept: "text/event-stream" } : { accept: "text/event-stream" },
        signal: mine.signal,
      });
      if (answer.status === 401) return state("refused");
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader(), mine);
    } catch {
      // told by the state: what broke a stream is of no use to who looks at it
    }
    if (open === mine) again();
  }

  async function read(reader, mine) {
    const feed = parser();
    for (;;) {
      watch(mine);
      const { value, done } = await reader.read();
      if (done) return;
      for (const each of feed(value)) {
        wait = FIRST;
        state("live");
        heard(each);
        last = each.id ?? last;
      }
    }
  }

  function watch(mine) {
    clearTimeout(alarm);
    alarm = setTimeout(() => mine.abort(), SILENT);
  }

  function again() {
    open = undefined;
    state("waiting");
    clearTimeout(alarm);
    alarm = setTimeout(run, wait * (0.5 + Math.random() / 2));
    wait = Math.min(wait * 2, SLOWEST);
  }

  // At once, from the beginning of patience.
  function soon() {
    close();
    wait = FIRST;
    run();
  }

  function close() {
    const mine = open;
    open = undefined;
    clearTimeout(alarm);
    mine?.abort();
  }

  run();
  return { soon, close, closed: () => open === undefined };
}
