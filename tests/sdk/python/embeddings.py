"""Embeddings; the SDK asks for base64 by itself and decodes it."""

from session import client

answer = client.embeddings.create(model="embed", input="embed me")
assert answer.data[0].embedding == [0.25, -0.5, 0.125], answer
answer = client.embeddings.create(model="embed", input=["embed me", "embed me"], encoding_format="float")
assert [entry.index for entry in answer.data] == [0, 1], answer
