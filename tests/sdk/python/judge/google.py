"""Gemini on AI Studio and on Vertex AI, by google-genai's types, which forbid members that they do not know."""

import json
import re

from google.genai import types
from pydantic import TypeAdapter

from judge import complaints

# The REST body around the types: which members it has, and what each is.
_GENERATE = {
    "contents": list[types.Content],
    "systemInstruction": types.Content,
    "generationConfig": types.GenerationConfig,
    "tools": list[types.Tool],
    "toolConfig": types.ToolConfig,
    "safetySettings": list[types.SafetySetting],
    "cachedContent": str,
    "serviceTier": types.ServiceTier,
}
_EMBED = {"model": str, "content": types.Content, "taskType": str, "title": str, "outputDimensionality": int}


class _Instance(types._common.BaseModel):
    content: str
    task_type: str | None = None


class Google:
    """One of the two homes of Gemini; they differ at the edges of the body."""

    def __init__(self, vertex):
        generate = dict(_GENERATE, **({"labels": dict[str, str]} if vertex else {"store": bool}))
        count = {k: generate[k] for k in ("contents", "systemInstruction", "tools", "generationConfig")}
        self.bodies = {
            "generateContent": generate,
            "streamGenerateContent": generate,
            "countTokens": count if vertex else {"contents": list[types.Content], "generateContentRequest": generate},
            "batchEmbedContents": {"requests": list},
            "embedContent": _EMBED,
            "predict": {"instances": list[_Instance], "parameters": dict},
        }
        self.vertex = vertex

    def request(self, path, body):
        found = re.fullmatch(r"(?:.*)/models/([^/:]+):(\w+)(\?alt=sse)?", path)
        if not found:
            return [f"no such path: {path}"]
        method = found[2]
        if (method == "streamGenerateContent") != bool(found[3]):
            return [f"a stream is asked for with alt=sse, and only a stream: {path}"]
        if method not in self.bodies or (method == "predict") > self.vertex:
            return [f"no such method: {method}"]
        if method == "batchEmbedContents":
            return [c for one in body["requests"] for c in self.members(_EMBED, one)]
        return self.members(self.bodies[method], body)

    def members(self, known, body):
        found = []
        for name, value in body.items():
            if name == "generateContentRequest":
                inner = dict(value)
                if not inner.pop("model", "").startswith("models/"):
                    found.append(f"{name}.model: missing")
                found += self.members(known[name], inner)
            elif name not in known:
                found.append(f"{name}: unknown member")
            else:
                kind = TypeAdapter(known[name])
                found += [f"{name}.{c}" for c in complaints.of(lambda: kind.validate_json(json.dumps(value)) and None)]
        return found + list(self.unions(body))

    def unions(self, body):
        """A part is exactly one thing, which the types do not say."""
        kinds = {
            "text",
            "inlineData",
            "fileData",
            "functionCall",
            "functionResponse",
            "executableCode",
            "codeExecutionResult",
        }
        for at, content in enumerate(body.get("contents", [])):
            if not content.get("parts"):
                yield f"contents[{at}]: no parts"
            for part in content.get("parts", []):
                if len(kinds & part.keys()) != 1:
                    yield f"contents[{at}]: a part that is not exactly one thing: {part}"

    def answer(self, path, body):
        if "ountTokens" in path or "mbed" in path or ":predict" in path:
            return []
        model = types.GenerateContentResponse
        return complaints.of(lambda: model.model_validate_json(json.dumps(body)) and None)

    def events(self, path, wire):
        read = [json.loads(data) for data in complaints.sse(wire)]
        return [c for event in read if "error" not in event for c in self.answer(path, event)]


GEMINI = Google(vertex=False)
VERTEX = Google(vertex=True)
