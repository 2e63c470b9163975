// The scenario of every provider: what the Python provider in `../python/scripted` plays, and who plays it.
import { createRequire } from "node:module";
import { join } from "node:path";

export const require = createRequire(join(process.env.TOLLGATE_TEST_NODE, "package.json"));
export const THOUGHT = "They want the weather and the time.";
export const ARGUMENTS = { city: "Tromsø", days: 2 };
export const RESULTS = { get_weather: "3C, snow ❄", get_time: '{"iso":"12:00"}' };
export const HELLO = "Hello, grüße 🦀";
export const DONE = "3C with snow at 12:00.";
export const VECTOR = [0.25, -0.5, 0.125];
export const [PROMPT, CACHED, COMPLETION] = [20, 4, 9];
const city = { city: { type: "string" }, days: { type: "integer" } };
export const SCHEMAS = [
  { name: "get_weather", description: "Weather by city", schema: { type: "object", properties: city, required: ["city"] } },
  { name: "get_time", schema: { type: "object", properties: {} } },
];

const plain = { thinks: false, talks: true };
const thinker = { thinks: true, talks: true };
const PROVIDERS = {
  openai: plain,
  azure: plain,
  "azure-v1": plain,
  anthropic: thinker,
  gemini: thinker,
  vertex: thinker,
  bedrock: thinker,
  cohere: { thinks: true, talks: false },
};

// Runs checks on every provider and tells of all failures at once.
export async function onEveryProvider(...checks) {
  const failures = [];
  for (const [name, wire] of Object.entries(PROVIDERS)) {
    for (const check of checks) {
      await check(name, wire).catch((error) => failures.push(`${check.name} on ${name}: ${error.stack ?? error}`));
    }
  }
  if (failures.length) {
    console.error(failures.map((failure) => failure.slice(0, 1500)).join("\n"));
    process.exitCode = 1;
  }
}
