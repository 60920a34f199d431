// OpenAI's own SDK for JavaScript, unmodified: says on its standard output what it was told.
import OpenAI from "openai";

const [address, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0 });
const user = (content) => [{ role: "user", content }];
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const picture = process.env.PICTURE;
const told = {};

const refusal = async (asked) => {
  try {
    await asked;
    return "answered";
  } catch (error) {
    return { kind: error.constructor.name, status: error.status ?? null, code: error.code ?? null, param: error.param ?? null };
  }
};

const chat = await client.chat.completions.create({ model, messages: user("how are you") });
told.chat = chat.choices[0].message.content;

const stream = await client.chat.completions.create({ model, messages: user("how are you"), stream: true });
told.streamed = "";
for await (const chunk of stream) told.streamed += chunk.choices[0]?.delta?.content ?? "";

const tools = [{ type: "function", function: { name: "weather", parameters: city } }];
const called = await client.chat.completions.stream({ model, messages: user("the weather"), tools }).finalChatCompletion();
told.tool = called.choices[0].message.tool_calls[0].function.name;
told.arguments = JSON.parse(called.choices[0].message.tool_calls[0].function.arguments);

const schema = { type: "json_schema", json_schema: { name: "city", schema: city, strict: true } };
const form = await client.chat.completions.parse({ model, messages: user("Bonn"), response_format: schema });
told.form = form.choices[0].message.parsed;

const parts = [{ type: "text", text: "see" }, { type: "image_url", image_url: { url: picture } }];
const seen = await client.chat.completions.create({ model, messages: user(parts) });
told.seen = seen.choices[0].message.content;

const response = await client.responses.create({ model, input: "how are you" });
told.response = response.output_text;

const events = await client.responses.create({ model, input: "how are you", stream: true });
told.events = "";
for await (const event of events) {
  if (event.type === "response.output_text.delta") told.events += event.delta;
  if (event.type === "response.completed") told.completed = event.response.output.at(-1).content[0].text;
}

const asked = user("the weather");
const first = await client.responses.create({ model, input: asked, tools: [{ type: "function", strict: false, name: "weather", parameters: city }] });
const call = first.output[0];
const second = await client.responses.create({
  model,
  input: [...asked, ...first.output, { type: "function_call_output", call_id: call.call_id, output: "rain" }],
});
told.afterTool = second.output_text;

told.missing = await refusal(client.chat.completions.create({ model: "gpt", messages: user("hi") }));
told.stored = await refusal(client.responses.create({ model, input: "hi", previous_response_id: "resp_1" }));
console.log(JSON.stringify(told));
