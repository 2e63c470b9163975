"""The scenario, as every dialect must tell it: what the model says, and what it must be told back.

A conversation that begins with "weather" thinks, says a word and calls two tools at once; one that comes back with
both results, and with the thoughts' signature where the provider wants it, is answered in words. The clients of the
scenario (in `dialects.py`, `messages.py` and their Node twins) hold the same constants by importing or repeating them.
"""

import dataclasses
import json

THOUGHT = "They want the weather and the time."
SIGNATURE = "c2lnbmF0dXJlLW9mLXRoZS1zY3JpcHQ="
ARGUMENTS = {"city": "Tromsø", "days": 2}
RESULTS = {"get_weather": "3C, snow ❄", "get_time": '{"iso":"12:00"}'}
HELLO = "Hello, grüße 🦀"
DONE = "3C with snow at 12:00."
STRUCTURED = {"city": "Tromsø", "degrees": 3}
VECTOR = [0.25, -0.5, 0.125]
COUNTED = 41
PROMPT, CACHED, COMPLETION, REASONED = 20, 4, 9, 5


@dataclasses.dataclass
class Call:
    id: str
    name: str
    arguments: dict


@dataclasses.dataclass
class Turn:
    """What the model says next."""

    text: str = ""
    thought: str = ""
    signature: str = ""
    calls: list[Call] = dataclasses.field(default_factory=list)
    # Streams only: after the first piece of text an error comes.
    breaks: bool = False

    def pieces(self):
        """The text in pieces, as models stream it; the cuts are between characters."""
        return [self.text[at : at + 5] for at in range(0, len(self.text), 5)]


@dataclasses.dataclass
class Asked:
    """What a request says of the scenario, read from a provider's form."""

    stream: bool
    # The text of the last user message that has one.
    text: str
    # Names of the tools that are offered.
    tools: list[str]
    # Results as (key of the call, text), the calls of the turn before as (key, name, arguments).
    results: list[tuple[str, str]]
    calls: list[tuple[str, str, dict]]
    # Signatures that came back at their right places.
    signatures: list[str]
    schema: dict | None = None
    thinks: bool = False


def answer(wire, asked):
    """The next turn and what is wrong with the request, if anything is."""
    if asked.results:
        return Turn(text=DONE), list(returned(wire, asked))
    word = asked.text.split()[0] if asked.text else ""
    if word == "weather":
        wrong = [] if asked.tools == ["get_weather", "get_time"] else [f"other tools were offered: {asked.tools}"]
        if wire.thinks and not asked.thinks:
            wrong.append("thinking was not asked for")
        return calling(wire), wrong
    if word == "structured":
        wrong = [] if asked.schema else ["the schema did not arrive"]
        return Turn(text=json.dumps(STRUCTURED, ensure_ascii=False)), wrong
    if word == "break":
        return Turn(text=HELLO, breaks=True), []
    return Turn(text=HELLO), [] if word == "hello" else [f"an unknown text: {asked.text!r}"]


def calling(wire):
    ids = wire.ids
    return Turn(
        text="Checking." if wire.talks_before_calls else "",
        thought=THOUGHT if wire.thinks else "",
        signature=SIGNATURE if wire.signs else "",
        calls=[Call(ids[0], "get_weather", ARGUMENTS), Call(ids[1], "get_time", {})],
    )


def returned(wire, asked):
    """What is wrong with a conversation that comes back with results."""
    wanted = [(call.id or call.name, call.name, call.arguments) for call in calling(wire).calls]
    if asked.calls != wanted:
        yield f"the calls came back as {asked.calls}, not as {wanted}"
    results = [(key, text if not text.startswith("{") else text.replace(" ", "")) for key, text in asked.results]
    if results != [(key, RESULTS[name]) for key, name, _ in wanted]:
        yield f"the results came as {asked.results}"
    if wire.signs and asked.signatures != [SIGNATURE]:
        yield f"the signature came back as {asked.signatures}"
    if asked.tools != ["get_weather", "get_time"]:
        yield f"other tools were offered: {asked.tools}"
