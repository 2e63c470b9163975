"""Cohere's second version."""

import json

from scripted.turns import CACHED, COMPLETION, PROMPT, VECTOR, Asked

USAGE = {
    "billed_units": {"input_tokens": 5.0, "output_tokens": 4.0},
    "tokens": {"input_tokens": float(PROMPT), "output_tokens": float(COMPLETION)},
    "cached_tokens": float(CACHED),
}


class Cohere:
    thinks, signs, talks_before_calls, counts_thoughts = True, False, False, False
    ids = ("get_weather_x1", "get_time_x2")
    stream_type = "text/event-stream"

    def read(self, path, body):
        messages = body["messages"]
        users = [text(m["content"]) for m in messages if m["role"] == "user"]
        calls = [c for m in messages if m["role"] == "assistant" for c in m.get("tool_calls", [])]
        return Asked(
            stream=body.get("stream", False),
            text=users[-1],
            tools=[tool["function"]["name"] for tool in body.get("tools", [])],
            results=[(m["tool_call_id"], text(m["content"])) for m in messages if m["role"] == "tool"],
            calls=[(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls],
            signatures=[],
            schema=body.get("response_format", {}).get("json_schema"),
            thinks=body.get("thinking", {}).get("type") == "enabled",
        )

    def call(self, call):
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

    def blocks(self, turn):
        if turn.thought:
            yield {"type": "thinking", "thinking": turn.thought}
        if turn.text:
            yield {"type": "text", "text": turn.text}

    def finish(self, turn):
        return "TOOL_CALL" if turn.calls else "COMPLETE"

    def whole(self, path, body, turn):
        message = {"role": "assistant", "content": list(self.blocks(turn))}
        if turn.calls:
            message["tool_calls"] = [self.call(call) for call in turn.calls]
        return {"id": "c-9", "finish_reason": self.finish(turn), "message": message, "usage": USAGE}

    def stream(self, path, body, turn):
        empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        events = [{"id": "c-9", "type": "message-start", "delta": {"message": empty}}]
        for index, block in enumerate(self.blocks(turn)):
            kind = block["type"]
            start = {"content": {"type": kind, kind: ""}}
            events.append({"type": "content-start", "index": index, "delta": {"message": start}})
            for piece in turn.pieces() if kind == "text" else [turn.thought[:9], turn.thought[9:]]:
                delta = {"message": {"content": {kind: piece}}}
                events.append({"type": "content-delta", "index": index, "delta": delta})
                if turn.breaks:
                    end = {"finish_reason": "ERROR", "error": "Why."}
                    return self.sse(*events, {"id": "c-9", "type": "message-end", "delta": end})
            events.append({"type": "content-end", "index": index})
        for index, call in enumerate(turn.calls):
            start = self.call(call)
            arguments = start["function"]["arguments"]
            start["function"]["arguments"] = ""
            events.append({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": start}}})
            for piece in (arguments[:6], arguments[6:]):
                delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
                events.append({"type": "tool-call-delta", "index": index, "delta": delta})
            events.append({"type": "tool-call-end", "index": index})
        end = {"finish_reason": self.finish(turn), "usage": USAGE}
        return self.sse(*events, {"id": "c-9", "type": "message-end", "delta": end})

    def sse(self, *events):
        return [f"event: {e['type']}\ndata: {json.dumps(e, ensure_ascii=False)}\n\n".encode() for e in events]

    def failure(self, status):
        return {}, {"message": f"Scripted {status}."}

    def embeddings(self, path, body):
        billed = {"billed_units": {"input_tokens": 3.0}}
        vectors = {"float": [VECTOR for _ in body["texts"]]}
        return {"id": "e-9", "embeddings": vectors, "texts": body["texts"], "meta": billed}


def text(content):
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
