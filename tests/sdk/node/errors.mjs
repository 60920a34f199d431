// The classes that the SDK raises for the statuses that it is given, one request each, and what it tries again.
import OpenAI from "openai";

const [address, model, count] = process.argv.slice(2);
const ask = (client) => client.responses.create({ model, input: "hi" });
const once = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0 });
const kinds = [];
for (let number = 0; number < Number(count); number++) {
  try {
    await ask(once);
    kinds.push("answered");
  } catch (error) {
    kinds.push(error.constructor.name);
  }
}
const retrying = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 2 });
const done = await ask(retrying);
console.log(JSON.stringify({ kinds, retried: done.output_text }));
