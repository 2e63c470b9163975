// OpenAI's SDK in front of every provider: the half of `../python/dialects_openai.py` that its code could see otherwise.
import assert from "node:assert/strict";
import { ARGUMENTS, CACHED, COMPLETION, DONE, HELLO, PROMPT, RESULTS, SCHEMAS, THOUGHT, VECTOR, onEveryProvider, require } from "./every.mjs";

const { default: OpenAI } = require("openai");
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0, timeout: 600_000 });
const functions = SCHEMAS.map(({ schema, ...rest }) => ({ ...rest, parameters: schema }));
const says = (content) => [{ role: "system", content: "Be terse." }, { role: "user", content }];

// A completion, accumulated by the SDK if it is streamed; thoughts' blocks are collected beside it, as applications do.
async function completed(stream, options) {
  if (!stream) return client.chat.completions.create(options);
  const runner = client.chat.completions.stream({ ...options, stream_options: { include_usage: true } });
  const blocks = [];
  let thought = "";
  runner.on("chunk", (chunk) => {
    const delta = chunk.choices[0]?.delta ?? {};
    blocks.push(...(delta.thinking_blocks ?? []));
    thought += delta.reasoning_content ?? "";
  });
  const answer = await runner.finalChatCompletion();
  const message = answer.choices[0].message;
  delete message.parsed;
  for (const call of message.tool_calls ?? []) delete call.function.parsed_arguments;
  if (blocks.length) message.thinking_blocks = blocks;
  if (thought) message.reasoning_content = thought;
  return answer;
}

async function chat(name) {
  for (const stream of [false, true]) {
    const { choices, usage } = await completed(stream, { model: name, messages: says("hello") });
    assert.deepEqual([choices[0].message.content, choices[0].finish_reason], [HELLO, "stop"]);
    assert.deepEqual([usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens], [PROMPT, COMPLETION, CACHED]);
  }
}

async function tools(name, wire) {
  for (const stream of [false, true]) {
    const options = { model: name, tools: functions.map((f) => ({ type: "function", function: f })), reasoning_effort: "low" };
    options.max_completion_tokens = 9000;
    const messages = says("weather");
    const { choices: [{ message, finish_reason }] } = await completed(stream, { ...options, messages });
    assert.deepEqual([finish_reason, message.content ?? ""], ["tool_calls", wire.talks ? "Checking." : ""]);
    if (wire.thinks) assert.equal(message.reasoning_content, THOUGHT);
    const calls = message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
    assert.deepEqual(calls, [["get_weather", ARGUMENTS], ["get_time", {}]]);
    messages.push(message);
    for (const call of message.tool_calls) messages.push({ role: "tool", tool_call_id: call.id, content: RESULTS[call.function.name] });
    assert.equal((await completed(stream, { ...options, messages })).choices[0].message.content, DONE);
  }
}

async function embeddings(name) {
  if (name === "anthropic") return;
  const { data } = await client.embeddings.create({ model: `embed-${name}`, input: "embed me" });
  assert.deepEqual(Array.from(data[0].embedding), VECTOR);
}

async function responses(name, wire) {
  for (const stream of [false, true]) {
    const options = { model: name, tools: functions.map((f) => ({ type: "function", strict: false, ...f })), store: false };
    Object.assign(options, { reasoning: { effort: "low", summary: "auto" }, include: ["reasoning.encrypted_content"], max_output_tokens: 9000 });
    const input = [{ role: "user", content: "weather" }];
    const respond = (input) =>
      stream ? client.responses.stream({ ...options, input }).finalResponse() : client.responses.create({ ...options, input });
    const answer = await respond(input);
    assert.equal(answer.output_text, wire.talks ? "Checking." : "");
    const calls = answer.output.filter((item) => item.type === "function_call");
    assert.deepEqual(calls.map((call) => [call.name, JSON.parse(call.arguments)]), [["get_weather", ARGUMENTS], ["get_time", {}]]);
    for (const item of answer.output) {
      const { parsed_arguments: _, ...plain } = item;
      input.push(plain.type === "message" ? { role: "assistant", content: answer.output_text } : plain);
    }
    for (const call of calls) input.push({ type: "function_call_output", call_id: call.call_id, output: RESULTS[call.name] });
    assert.equal((await respond(input)).output_text, DONE);
  }
}

async function errors(name) {
  const ask = (content, more = {}) => client.chat.completions.create({ model: name, messages: says(content), ...more });
  const of = (kind) => (error) => error.constructor === kind;
  await assert.rejects(ask("fail:400"), of(OpenAI.BadRequestError));
  await assert.rejects(ask("fail:429", { stream: true }), of(OpenAI.RateLimitError));
  await assert.rejects(ask("fail:500"), of(OpenAI.InternalServerError));
  let got = "";
  await assert.rejects(async () => {
    for await (const chunk of await ask("break", { stream: true })) got += chunk.choices[0]?.delta?.content ?? "";
  }, OpenAI.APIError);
  assert.equal(got, HELLO.slice(0, 5));
}

await onEveryProvider(chat, tools, embeddings, responses, errors);
