// What the SDK makes of failover: of streams that another provider goes on with, of those that nobody could, of
// comments while it waits, and of a deadline.
import assert from "node:assert/strict";
import { client, OpenAI } from "./session.mjs";

const messages = [{ role: "user", content: "hello" }];

async function read(model, into) {
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    into.ids.add(chunk.id);
    for (const choice of chunk.choices) {
      into.text += choice.delta.content ?? "";
      if (choice.finish_reason) into.finishes.push(choice.finish_reason);
    }
  }
}

const empty = () => ({ ids: new Set(), text: "", finishes: [] });

for (const model of ["continued", "waiting"]) {
  const got = empty();
  await read(model, got);
  assert.deepEqual([got.text, got.ids.size, got.finishes], ["one two three", 1, ["stop"]], model);
}
for (const [model, began] of [["told", "one "], ["early", ""]]) {
  const got = empty();
  await assert.rejects(read(model, got), (error) => error instanceof OpenAI.APIError && error.type === "api_error");
  assert.deepEqual([got.text, got.finishes], [began, []], model);
}
for (const stream of [false, true]) {
  await assert.rejects(client.chat.completions.create({ model: "late", messages, stream }), (error) => {
    assert.deepEqual([error.status, error.code], [504, "timeout"]);
    assert.match(error.message, /waiting for an answer to begin/);
    return true;
  });
}
