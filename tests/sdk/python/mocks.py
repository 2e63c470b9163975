"""Chats with aimock behind each of the dialects that it imitates, whole and streamed."""

import json
import os

import anthropic
import openai

from openai.lib.streaming.chat import ChatCompletionStreamState

BASE = os.environ["BASE_URL"]
client = openai.OpenAI(base_url=BASE, api_key=os.environ["API_KEY"], max_retries=0, timeout=600)
messages = anthropic.Anthropic(
    base_url=BASE.removesuffix("/v1"), api_key=os.environ["API_KEY"], max_retries=0, timeout=600
).messages
GREETING, DONE = "Hei, grüße, from aimock.", "It is 18 degrees in Lisbon."
WANTED = {"city": "Lisbon", "unit": "celsius"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]


def asked(stream, model, messages, **options):
    if not stream:
        return client.chat.completions.create(model=model, messages=messages, **options).choices[0]
    state = ChatCompletionStreamState()
    for chunk in client.chat.completions.create(model=model, messages=messages, stream=True, **options):
        state.handle_chunk(chunk)
    return state.get_final_completion().choices[0]


def says(text):
    return [{"role": "user", "content": text}]


for name in ("anthropic", "azure", "cohere", "gemini"):
    for stream in (False, True):
        where = (name, stream)
        choice = asked(stream, name, says("greet"))
        assert (choice.message.content, choice.finish_reason) == (GREETING, "stop"), (where, choice)
        choice = asked(stream, name, says("weather"), tools=TOOLS)
        (call,) = choice.message.tool_calls
        assert choice.finish_reason == "tool_calls", (where, choice)
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", WANTED), (where, call)
        said = {"id": call.id, "type": "function", "function": {"name": "weather", "arguments": call.function.arguments}}
        turns = says("weather") + [{"role": "assistant", "tool_calls": [said]}]
        choice = asked(stream, name, turns + [{"role": "tool", "tool_call_id": call.id, "content": "18"}], tools=TOOLS)
        # Google's form has no id by which aimock could know its own call again.
        assert name == "gemini" or choice.message.content == DONE, (where, choice)

        ask = {"model": name, "max_tokens": 100, "messages": says("greet")}
        if stream:
            with messages.stream(**ask) as events:
                answer = events.get_final_message()
        else:
            answer = messages.create(**ask)
        assert (answer.content[0].text, answer.stop_reason) == (GREETING, "end_turn"), (where, answer)

for stream in (False, True):
    message = asked(stream, "anthropic", says("think"), reasoning_effort="low", max_completion_tokens=5000).message
    assert (message.content, message.reasoning_content) == ("42", "Six times seven."), message
    (block,) = message.thinking_blocks
    assert block["thinking"] == "Six times seven." and block["signature"], block
