// Asking the server. What it refuses is an `Refused` with its own words; the token, if it wants one, is kept by the tab.

const TOKEN = "sparkkeep.token"; // in sessionStorage: for this tab only, and gone with it

export class Refused extends Error {
  constructor(status, body) {
    super(body.message ?? `the server answered ${status}`);
    this.status = status;
    this.reason = body.reason ?? "";
    this.body = body;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (word) => sessionStorage.setItem(TOKEN, word),
  forget: () => sessionStorage.removeItem(TOKEN),
};

export function send(path, { method = "GET", body, headers = {}, signal } = {}) {
  const said = { "sparkkeep-actor": "dashboard", ...headers };
  if (token.get()) said.authorization = `Bearer ${token.get()}`;
  if (body !== undefined) said["content-type"] = "application/json";
  return fetch(path, { method, headers: said, signal, body: body === undefined ? undefined : JSON.stringify(body) });
}

// The answer as JSON, with its tag. Throws Refused, or TypeError where nobody answered.
export async function ask(path, options) {
  const answer = await send(path, options);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, body);
  return { body, tag: answer.headers.get("etag") };
}

export const get = async (path) => (await ask(path)).body;

// An address with its parts encoded: at`/api/sparks/${name}`.
export function at(texts, ...values) {
  return texts.reduce((whole, text, n) => whole + encodeURIComponent(values[n - 1]) + text);
}

// What went wrong, in words.
export function told(error) {
  if (error instanceof Refused) {
    const problems = error.body.problems?.map((p) => p.text ?? p.message).join("\n");
    return problems || error.message;
  }
  return error instanceof TypeError ? "the server does not answer" : error.message;
}
