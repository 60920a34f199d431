// A box to ask a workload something, through the same way that its canary takes.

import { ask, at, told } from "../core/api.js";
import { h } from "../core/dom.js";
import { changed } from "../core/store.js";

const MOST = 2 ** 20; // bytes of a sound

export function openTry(name) {
  let answer = null;
  let failed = "";
  let busy = false;

  async function go(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    busy = true;
    failed = "";
    answer = null;
    changed();
    try {
      answer = (await ask(at`/api/workloads/${name}/try`, { method: "POST", body: await request(form) })).body;
    } catch (error) {
      failed = told(error);
    }
    busy = false;
    changed();
  }

  const view = () => [
    h("form", { key: "try", onsubmit: go },
      h("label.field", {}, "Text", h("textarea", { name: "text", rows: 3, maxlength: 4000 })),
      h("label.field", {}, "Or a sound, for those that listen (WAV, up to 1 MiB)", h("input", { type: "file", name: "audio", accept: ".wav,audio/wav" })),
      h("button.act", { disabled: busy }, busy ? "Asking" : "Ask")),
    failed && h("p.box.bad.lines", { key: "failed", role: "alert" }, failed),
    answer && h("div.box", { key: "answer", role: "status" }, shown(answer), h("p.small.dim", {}, `${answer.kind}, ${Math.round(answer.milliseconds)} ms${answer.tokens ? `, ${answer.tokens} tokens` : ""}`)),
  ];
  return { view };
}

async function request(form) {
  const text = form.get("text").trim();
  const sound = form.get("audio");
  const body = text ? { text } : {};
  if (!sound?.size) return body;
  if (sound.size > MOST) throw new Error("this sound is larger than 1 MiB");
  const bytes = new Uint8Array(await sound.arrayBuffer());
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return { ...body, audio: btoa(binary) };
}

function shown(answer) {
  if (answer.vector) return h("p", {}, `${answer.dimensions} numbers: ${answer.vector.map((v) => v.toFixed(4)).join(", ")} …`);
  if (answer.scores) return h("ol", {}, answer.scores.map((s) => h("li", {}, `${s.score.toFixed(4)} ${s.text}`)));
  if (answer.audio) return h("audio", { controls: true, src: `data:${answer.contentType ?? "audio/wav"};base64,${answer.audio}` });
  return h("p.lines.why", {}, answer.text || "(it said nothing)", answer.truncated && " …");
}
