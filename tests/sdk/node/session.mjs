// What every script needs: a client for the gateway, and a key that may use little.
import { createRequire } from "node:module";
import { join } from "node:path";

// The packages are where TOLLGATE_TEST_NODE says, which need not be beside these scripts.
const require = createRequire(join(process.env.TOLLGATE_TEST_NODE, "package.json"));
export const { default: OpenAI } = require("openai");

// The gateway's own retries are under test, so the SDK must not hide a failure behind its own.
const options = { baseURL: process.env.BASE_URL, maxRetries: 0, timeout: 60_000 };
export const client = new OpenAI({ ...options, apiKey: process.env.API_KEY });
export const narrow = new OpenAI({ ...options, apiKey: process.env.NARROW_KEY });
export const stranger = new OpenAI({ ...options, apiKey: "tg-nobody" });
export const HELLO = "Hello from aimock, through tollgate: grüße 🦀";

export const ask = (content, more = {}) =>
  client.chat.completions.create({ model: "chat", messages: [{ role: "user", content }], ...more });
