// The list of models is the key's own.
import assert from "node:assert/strict";
import { client, narrow, OpenAI } from "./session.mjs";

const ids = async (from) => (await from.models.list()).data.map((model) => model.id).sort();
assert.deepEqual(await ids(client), ["chat", "embed"]);
assert.deepEqual(await ids(narrow), ["embed"]);
assert.equal((await client.models.retrieve("chat")).object, "model");
await assert.rejects(narrow.models.retrieve("chat"), (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found");
