// What the official SDK makes of limits and budgets. It may try again here as it does by default: the models whose
// limits never let a request in must be asked for once.
import assert from "node:assert/strict";
import { client, OpenAI } from "./session.mjs";

const opened = client.withOptions({ maxRetries: 2 });
const chat = (model, more = {}) =>
  opened.chat.completions.create({ model, messages: [{ role: "user", content: "hello" }], max_tokens: 50, ...more });

for (const stream of [false, true]) {
  await assert.rejects(chat("spent", { stream }), (error) => {
    assert.ok(error instanceof OpenAI.APIError, String(error));
    assert.deepEqual([error.status, error.code, error.type], [402, "budget_exceeded", "insufficient_quota"]);
    return true;
  });
}
await assert.rejects(chat("never"), (error) => {
  assert.equal(error.constructor, OpenAI.RateLimitError, String(error));
  assert.equal(error.code, "rate_limit_exceeded");
  return true;
});
