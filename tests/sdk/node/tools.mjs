// A tool is called, whole and streamed, and its result goes back.
import assert from "node:assert/strict";
import { ask, client } from "./session.mjs";

const tool = { type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } } };
const wanted = { city: "Lisbon", unit: "celsius" };

const answer = await ask("weather", { tools: [tool], tool_choice: "auto" });
const [call] = answer.choices[0].message.tool_calls;
assert.equal(answer.choices[0].finish_reason, "tool_calls");
assert.equal(call.function.name, "weather");
assert.deepEqual(JSON.parse(call.function.arguments), wanted);

let [name, text] = ["", ""];
for await (const chunk of await ask("weather", { tools: [tool], stream: true })) {
  for (const part of chunk.choices[0]?.delta?.tool_calls ?? []) {
    name ||= part.function.name ?? "";
    text += part.function.arguments ?? "";
  }
}
assert.equal(name, "weather");
assert.deepEqual(JSON.parse(text), wanted);

const messages = [
  { role: "user", content: "weather" },
  answer.choices[0].message,
  { role: "tool", tool_call_id: call.id, content: "18" },
];
const last = await client.chat.completions.create({ model: "chat", tools: [tool], messages });
assert.equal(last.choices[0].message.content, "It is 18 degrees in Lisbon.");
