"""A chat, whole and streamed, with the synchronous and the asynchronous client."""

import asyncio
import os

import openai

from session import HELLO, ask

answer = ask("hello", temperature=0.5, extra_body={"x_vendor": {"deep": [1, 2]}})
assert answer.choices[0].message.content == HELLO, answer
assert answer.choices[0].finish_reason == "stop", answer
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, answer

chunks = list(ask("hello", stream=True))
assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == HELLO, chunks
assert len(chunks) > 3, "the stream came in one piece"
assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop", chunks
assert len({c.id for c in chunks}) == 1, chunks


async def many():
    client = openai.AsyncOpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0, timeout=60)

    async def one():
        stream = await client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    assert await asyncio.gather(*[one() for _ in range(10)]) == [HELLO] * 10
    await client.close()


asyncio.run(many())
