// Each refusal becomes the exception that the SDK has for it.
import assert from "node:assert/strict";
import { ask, client, narrow, OpenAI, stranger } from "./session.mjs";

async function raises(kind, call, members = {}) {
  await assert.rejects(call, (error) => {
    assert.equal(error.constructor, kind, String(error));
    assert.ok(error.requestID, "no x-request-id");
    for (const [name, value] of Object.entries(members)) assert.equal(error[name], value);
    assert.deepEqual(Object.keys(error.error).sort(), ["code", "message", "param", "type"]);
    return true;
  });
}

const messages = [{ role: "user", content: "hello" }];
const chat = (from, model) => from.chat.completions.create({ model, messages });
await raises(OpenAI.AuthenticationError, stranger.models.list(), { code: "invalid_api_key" });
await raises(OpenAI.PermissionDeniedError, chat(narrow, "chat"), { code: "model_not_allowed" });
await raises(OpenAI.NotFoundError, chat(client, "no-such-model"), { code: "model_not_found" });
await raises(OpenAI.NotFoundError, client.files.list(), { code: "unknown_url" });
await raises(OpenAI.BadRequestError, client.chat.completions.create({ model: "chat", messages: "hello" }));
await raises(OpenAI.BadRequestError, ask("too long"), { code: "context_length_exceeded" });
await raises(OpenAI.BadRequestError, ask("too long", { stream: true }), { code: "context_length_exceeded" });
await raises(OpenAI.RateLimitError, ask("please wait"));
await raises(OpenAI.InternalServerError, ask("break"), { status: 502 });
