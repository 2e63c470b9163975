// Anthropic's SDK in front of every provider: the half of `../python/dialects_anthropic.py` that its code could see otherwise.
import assert from "node:assert/strict";
import { ARGUMENTS, CACHED, COMPLETION, DONE, HELLO, PROMPT, RESULTS, SCHEMAS, THOUGHT, onEveryProvider, require } from "./every.mjs";

const { default: Anthropic } = require("@anthropic-ai/sdk");
const baseURL = process.env.BASE_URL.replace(/\/v1$/, "");
const client = new Anthropic({ baseURL, apiKey: process.env.API_KEY, maxRetries: 0, timeout: 600_000 });
const tools = SCHEMAS.map(({ schema, ...rest }) => ({ ...rest, input_schema: schema }));
const base = { max_tokens: 9000, system: "Be terse." };
const says = (content) => [{ role: "user", content }];
const textOf = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");

const messaged = (stream, options) =>
  stream ? client.messages.stream({ ...base, ...options }).finalMessage() : client.messages.create({ ...base, ...options });

async function messages(name) {
  for (const stream of [false, true]) {
    const answer = await messaged(stream, { model: name, messages: says("hello") });
    assert.deepEqual([textOf(answer), answer.stop_reason], [HELLO, "end_turn"]);
    const { input_tokens, output_tokens, cache_read_input_tokens } = answer.usage;
    assert.deepEqual([input_tokens, output_tokens, cache_read_input_tokens], [PROMPT - CACHED, COMPLETION, CACHED]);
  }
}

async function loop(name, wire) {
  for (const stream of [false, true]) {
    const options = { model: name, tools, thinking: { type: "enabled", budget_tokens: 1024 } };
    const given = says("weather");
    const answer = await messaged(stream, { ...options, messages: given });
    assert.equal(answer.stop_reason, "tool_use");
    const calls = answer.content.filter((block) => block.type === "tool_use");
    assert.deepEqual(calls.map((call) => [call.name, call.input]), [["get_weather", ARGUMENTS], ["get_time", {}]]);
    const thought = answer.content.filter((block) => block.type === "thinking").map((block) => block.thinking).join("");
    assert.equal(thought, wire.thinks ? THOUGHT : "");
    const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: RESULTS[call.name] }));
    given.push({ role: "assistant", content: answer.content }, { role: "user", content: results });
    assert.equal(textOf(await messaged(stream, { ...options, messages: given })), DONE);
  }
}

async function errors(name) {
  const ask = (text) => client.messages.create({ ...base, model: name, messages: says(text) });
  const of = (kind, type) => (error) => error.constructor === kind && error.error.error.type === type;
  await assert.rejects(ask("fail:400"), of(Anthropic.BadRequestError, "invalid_request_error"));
  await assert.rejects(ask("fail:429"), of(Anthropic.RateLimitError, "rate_limit_error"));
  await assert.rejects(client.messages.stream({ ...base, model: name, messages: says("break") }).finalMessage(), Anthropic.APIError);
}

await onEveryProvider(messages, loop, errors);
