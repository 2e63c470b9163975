"""Gemini: on AI Studio a model that gives its calls no ids, on Vertex AI one that does."""

import json

from scripted.turns import CACHED, COMPLETION, COUNTED, PROMPT, REASONED, VECTOR, Asked

STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
USAGE = {
    "promptTokenCount": PROMPT,
    "cachedContentTokenCount": CACHED,
    "candidatesTokenCount": COMPLETION - REASONED,
    "thoughtsTokenCount": REASONED,
    "totalTokenCount": PROMPT + COMPLETION,
}


class Gemini:
    thinks, signs, talks_before_calls, counts_thoughts = True, True, True, True
    ids = ("", "")
    stream_type = "text/event-stream"

    def read(self, path, body):
        body = body.get("generateContentRequest", body)
        texts, results, calls, signatures = [], [], [], []
        for content in body["contents"]:
            first = True
            for part in content["parts"]:
                if "text" in part and content["role"] == "user":
                    texts.append(part["text"])
                elif "functionCall" in part:
                    call = part["functionCall"]
                    calls.append((call.get("id") or call["name"], call["name"], call.get("args", {})))
                    # It belongs on the first call of a step, and nowhere else.
                    if first and "thoughtSignature" in part:
                        signatures.append(part["thoughtSignature"])
                    first = False
                elif "functionResponse" in part:
                    result = part["functionResponse"]
                    results.append((result.get("id") or result["name"], self.result(result["response"])))
        config = body.get("generationConfig", {})
        return Asked(
            stream="streamGenerateContent" in path,
            text=texts[-1],
            tools=[f["name"] for t in body.get("tools", []) for f in t["functionDeclarations"]],
            results=results,
            calls=calls,
            signatures=signatures,
            schema=config.get("responseJsonSchema") or config.get("responseSchema"),
            thinks=config.get("thinkingConfig", {}).get("includeThoughts", False),
        )

    def result(self, response):
        """A text is wrapped by whoever sends it; an object is the result itself."""
        if list(response) in (["result"], ["output"], ["content"]):
            return next(iter(response.values()))
        return json.dumps(response, ensure_ascii=False, separators=(",", ":"))

    def parts(self, turn):
        if turn.thought:
            yield {"text": turn.thought, "thought": True}
        for piece in turn.pieces():
            yield {"text": piece}
        for at, call in enumerate(turn.calls):
            part = {"functionCall": {"name": call.name, "args": call.arguments}}
            if call.id:
                part["functionCall"]["id"] = call.id
            if turn.signature and at == 0:
                part["thoughtSignature"] = turn.signature
            yield part

    def response(self, parts, finish, usage):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": "gemini-upstream",
            "responseId": "rId9",
        }

    def whole(self, path, body, turn):
        if path.endswith(":countTokens"):
            return {"totalTokens": COUNTED}
        return self.response(list(self.parts(turn)), "STOP", USAGE)

    def stream(self, path, body, turn):
        early = {"promptTokenCount": PROMPT, "totalTokenCount": PROMPT}
        events = [self.response([part], None, early) for part in self.parts(turn)]
        if turn.breaks:
            return self.sse(events[0], self.failure(503)[1])
        return self.sse(*events, self.response([{"text": ""}], "STOP", USAGE))

    def sse(self, *events):
        return [f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode() for event in events]

    def failure(self, status):
        error = {"code": status, "message": f"Scripted {status}.", "status": STATUS.get(status, "UNKNOWN")}
        if status == 429:
            info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}
            error["details"] = [info]
        return {}, {"error": error}

    def embeddings(self, path, body):
        if path.endswith(":predict"):
            one = {"embeddings": {"values": VECTOR, "statistics": {"token_count": 3, "truncated": False}}}
            return {"predictions": [one for _ in body["instances"]]}
        return {"embeddings": [{"values": VECTOR} for _ in body["requests"]]}


class Vertex(Gemini):
    ids = ("fc-7a", "fc-7b")
