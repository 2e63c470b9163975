// A chat, whole and streamed.
import assert from "node:assert/strict";
import { HELLO, ask } from "./session.mjs";

const answer = await ask("hello", { temperature: 0.5, x_vendor: { deep: [1, 2] } });
assert.equal(answer.choices[0].message.content, HELLO);
assert.equal(answer.choices[0].finish_reason, "stop");
assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);

async function streamed() {
  const pieces = [];
  for await (const chunk of await ask("hello", { stream: true })) pieces.push(chunk.choices[0]?.delta?.content ?? "");
  assert.ok(pieces.length > 3, "the stream came in one piece");
  return pieces.join("");
}
assert.deepEqual(await Promise.all(Array.from({ length: 10 }, streamed)), Array(10).fill(HELLO));

// A reader that leaves in mid-stream.
const stream = await ask("hello", { stream: true });
for await (const _ of stream) break;
assert.equal(await streamed(), HELLO);
