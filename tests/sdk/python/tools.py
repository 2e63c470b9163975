"""A tool is called, whole and streamed, and its result goes back."""

import json

from session import ask, client

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}},
    },
}
WANTED = {"city": "Lisbon", "unit": "celsius"}

answer = ask("weather", tools=[TOOL], tool_choice="auto")
choice = answer.choices[0]
assert choice.finish_reason == "tool_calls", answer
(call,) = choice.message.tool_calls
assert call.function.name == "weather" and json.loads(call.function.arguments) == WANTED, call

arguments, name = "", None
for chunk in ask("weather", tools=[TOOL], stream=True):
    for part in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
        name = part.function.name or name
        arguments += part.function.arguments or ""
assert name == "weather" and json.loads(arguments) == WANTED, (name, arguments)

answer = client.chat.completions.create(
    model="chat",
    tools=[TOOL],
    messages=[
        {"role": "user", "content": "weather"},
        choice.message,
        {"role": "tool", "tool_call_id": call.id, "content": "18"},
    ],
)
assert answer.choices[0].message.content == "It is 18 degrees in Lisbon.", answer
