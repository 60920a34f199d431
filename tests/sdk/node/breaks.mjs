// What the SDK makes of a server that says nothing, and of a stream that breaks.
import OpenAI from "openai";

const [address, model, how] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0, timeout: how === "hangs" ? 200 : 10_000 });
const told = { said: "" };
try {
  const stream = await client.chat.completions.create({ model, messages: [{ role: "user", content: "how are you" }], stream: true });
  for await (const chunk of stream) told.said += chunk.choices[0]?.delta?.content ?? "";
  told.kind = "answered";
} catch (error) {
  told.kind = error.constructor.name;
  told.message = error.message;
}
console.log(JSON.stringify(told));
