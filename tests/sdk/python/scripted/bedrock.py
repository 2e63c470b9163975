"""Bedrock's Converse, with its binary event stream."""

import json
import struct
import zlib

from scripted.turns import CACHED, COMPLETION, COUNTED, PROMPT, VECTOR, Asked

KINDS = {
    400: "ValidationException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
USAGE = {
    "inputTokens": PROMPT - CACHED,
    "outputTokens": COMPLETION,
    "totalTokens": PROMPT + COMPLETION,
    "cacheReadInputTokens": CACHED,
    "cacheWriteInputTokens": 0,
}


def frame(kind, name, payload):
    """One message: lengths, their checksum, headers, payload, the checksum of all."""
    fields = [(f":{kind}-type", name), (":content-type", "application/json"), (":message-type", kind)]
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in fields
    )
    body = json.dumps(payload, ensure_ascii=False).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    start = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return start + struct.pack(">I", zlib.crc32(start))


class Bedrock:
    thinks, signs, talks_before_calls, counts_thoughts = True, True, True, False
    ids = ("tooluse_aB1", "tooluse_cD2")
    stream_type = "application/vnd.amazon.eventstream"

    def read(self, path, body):
        body = body.get("input", {}).get("converse", body)
        texts, results, calls, signatures = [], [], [], []
        for message in body["messages"]:
            for at, block in enumerate(message["content"]):
                if "text" in block and message["role"] == "user":
                    texts.append(block["text"])
                elif "reasoningContent" in block and at == 0:
                    signatures.append(block["reasoningContent"]["reasoningText"]["signature"])
                elif "toolUse" in block:
                    use = block["toolUse"]
                    calls.append((use["toolUseId"], use["name"], use["input"]))
                elif "toolResult" in block:
                    result = block["toolResult"]
                    results.append((result["toolUseId"], "".join(map(self.result, result["content"]))))
        more = body.get("additionalModelRequestFields", {})
        form = body.get("outputConfig", {}).get("textFormat", {}).get("structure", {}).get("jsonSchema", {})
        return Asked(
            stream=path.endswith("/converse-stream"),
            text=texts[-1],
            tools=[tool["toolSpec"]["name"] for tool in body.get("toolConfig", {}).get("tools", [])],
            results=results,
            calls=calls,
            signatures=signatures,
            schema=json.loads(form.get("schema", "null")),
            thinks="thinking" in more,
        )

    def result(self, content):
        if "json" in content:
            return json.dumps(content["json"], ensure_ascii=False, separators=(",", ":"))
        return content["text"]

    def blocks(self, turn):
        if turn.thought:
            yield {"reasoningContent": {"reasoningText": {"text": turn.thought, "signature": turn.signature}}}
        if turn.text:
            yield {"text": turn.text}
        for call in turn.calls:
            yield {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}

    def stop(self, turn):
        return "tool_use" if turn.calls else "end_turn"

    def whole(self, path, body, turn):
        if path.endswith("/count-tokens"):
            return {"inputTokens": COUNTED}
        message = {"role": "assistant", "content": list(self.blocks(turn))}
        return {
            "output": {"message": message},
            "stopReason": self.stop(turn),
            "usage": USAGE,
            "metrics": {"latencyMs": 321},
        }

    def deltas(self, block, turn):
        if "reasoningContent" in block:
            thought = block["reasoningContent"]["reasoningText"]
            half = len(thought["text"]) // 2
            for piece in (thought["text"][:half], thought["text"][half:]):
                yield {"reasoningContent": {"text": piece}}
            yield {"reasoningContent": {"signature": thought["signature"]}}
        elif "text" in block:
            for piece in turn.pieces():
                yield {"text": piece}
        elif block["toolUse"]["input"]:
            written = json.dumps(block["toolUse"]["input"], ensure_ascii=False)
            for piece in (written[:6], written[6:]):
                yield {"toolUse": {"input": piece}}

    def stream(self, path, body, turn):
        frames = [frame("event", "messageStart", {"role": "assistant", "p": "abcdefgh"})]
        for index, block in enumerate(self.blocks(turn)):
            at = {"contentBlockIndex": index}
            # Only tools have a start.
            if "toolUse" in block:
                start = {k: block["toolUse"][k] for k in ("toolUseId", "name")}
                frames.append(frame("event", "contentBlockStart", at | {"start": {"toolUse": start}}))
            for delta in self.deltas(block, turn):
                frames.append(frame("event", "contentBlockDelta", at | {"delta": delta, "p": "ab"}))
                if turn.breaks:
                    return [*frames, frame("exception", "throttlingException", {"message": "Why."})]
            frames.append(frame("event", "contentBlockStop", at))
        frames.append(frame("event", "messageStop", {"stopReason": self.stop(turn)}))
        return [*frames, frame("event", "metadata", {"usage": USAGE, "metrics": {"latencyMs": 321}})]

    def failure(self, status):
        headers = {"x-amzn-errortype": f"{KINDS.get(status, 'ModelErrorException')}:http://internal.example/"}
        return headers | {"x-amzn-requestid": "r-1"}, {"message": f"Scripted {status}."}

    def embeddings(self, path, body):
        return {"embedding": VECTOR, "inputTextTokenCount": 3}
