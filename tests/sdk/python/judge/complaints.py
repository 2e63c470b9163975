"""How a pydantic failure is told: one line for each place."""

from pydantic import ValidationError


def of(check):
    """Runs a check; its complaints."""
    try:
        return list(check() or [])
    except ValidationError as error:
        errors = error.errors()
        # Of a union, only the kinds that the value says it is: the others differ in their `role` or `type`.
        other = {e["loc"][:-1] for e in errors if e["type"] == "literal_error" and e["loc"][-1] in ("role", "type")}
        kept = [e for e in errors if not any(e["loc"][:n] in other for n in range(1, len(e["loc"])))]
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in kept or errors][:12]


def sse(wire):
    """The data of each event of a stream of server-sent events."""
    text = wire.decode()
    assert text.replace("\r\n", "\n").endswith("\n\n"), "a stream that ends inside an event"
    for event in text.replace("\r\n", "\n").split("\n\n")[:-1]:
        data = [line[5:].strip() for line in event.splitlines() if line.startswith("data:")]
        if data:
            yield "\n".join(data)


def unknown(value, path=""):
    """Members that a model keeps without knowing them."""
    if hasattr(value, "model_extra"):
        for name in value.model_extra or {}:
            yield f"{path}.{name}: unknown member"
        for name in type(value).model_fields:
            yield from unknown(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from unknown(inner, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            yield from unknown(inner, f"{path}[{at}]")
