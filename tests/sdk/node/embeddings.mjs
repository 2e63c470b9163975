// Embeddings; the SDK asks for base64 by itself and decodes it.
import assert from "node:assert/strict";
import { client } from "./session.mjs";

const one = await client.embeddings.create({ model: "embed", input: "embed me" });
assert.deepEqual(Array.from(one.data[0].embedding), [0.25, -0.5, 0.125]);
const two = await client.embeddings.create({ model: "embed", input: ["embed me", "embed me"], encoding_format: "float" });
assert.deepEqual(two.data.map((entry) => entry.index), [0, 1]);
