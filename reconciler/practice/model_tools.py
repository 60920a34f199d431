"""How a practice model calls tools and fills in schemas: with words of the question, in the order they stand there.

It calls a tool where it must, and else where the question names it. Given a tool's result, it answers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from reconciler.practice.clock import digest

DEEPEST: Final = 12
NUMBER: Final = 1000


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool. `arguments` is a JSON text."""

    id: str
    name: str
    arguments: str

    def json(self) -> dict[str, Any]:
        """As it stands in a message."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}

    def deltas(self, index: int) -> list[dict[str, Any]]:
        """As it comes in a stream: its name first, its arguments in parts."""
        parts = re.findall(r".{1,7}", self.arguments, re.DOTALL)
        function = {"name": self.name, "arguments": ""}
        first = {"index": index, "id": self.id, "type": "function", "function": function}
        return [first, *({"index": index, "function": {"arguments": part}} for part in parts)]


def calls(body: dict[str, Any], question: str) -> tuple[Call, ...]:
    """What it calls to answer this. Raises ValueError for a choice that no tool has."""
    tools = [tool["function"] for tool in body.get("tools") or []]
    choice = body.get("tool_choice") or "auto"
    if not tools or choice == "none" or body["messages"][-1].get("role") == "tool":
        return ()
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        chosen = [tool for tool in tools if tool["name"] == name]
        if not chosen:
            raise ValueError(f"tool_choice names {name}, which is no tool of this request")
    else:
        chosen = [tool for tool in tools if re.search(rf"\b{re.escape(tool['name'])}\b", question)]
        if not chosen and choice == "required":
            chosen = tools[:1]
    if body.get("parallel_tool_calls") is False:
        chosen = chosen[:1]
    return tuple(_call(tool, question, number) for number, tool in enumerate(chosen))


def _call(tool: dict[str, Any], question: str, number: int) -> Call:
    name = tool["name"]
    filled = fill(tool.get("parameters") or {}, question)
    text = json.dumps(filled if isinstance(filled, dict) else {}, ensure_ascii=False)
    return Call(f"call_{digest(f'{name} {number} {question}')[:16]}", name, text)


def fill(schema: dict[str, Any], question: str, root: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """A value that a JSON schema allows, made of the question."""
    root = schema if root is None else root
    if depth > DEEPEST:
        return None
    if "$ref" in schema:
        return fill(_found(root, schema["$ref"]), question, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return fill(schema[name][0], question, root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: fill(inner, f"{name} {question}", root, depth + 1) for name, inner in properties.items()}
    if kind == "array":
        return [fill(schema.get("items") or {}, question, root, depth + 1)]
    number = int(digest(question)[:8], 16) % NUMBER
    simple: dict[str, Any] = {"integer": number, "number": number / 4, "boolean": number % 2 == 0, "null": None}
    return simple[kind] if kind in simple else question[: schema.get("maxLength", 60)]


def _found(root: dict[str, Any], reference: str) -> dict[str, Any]:
    found: Any = root
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def structured(body: dict[str, Any], question: str, said: str) -> str | None:
    """The answer in the form that was asked for; None: in none. Raises ValueError."""
    wanted = body.get("response_format") or {"type": "text"}
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return json.dumps({"answer": said}, ensure_ascii=False)
        case "json_schema":
            return json.dumps(fill(wanted["json_schema"]["schema"], question), ensure_ascii=False)
    raise ValueError(f"response_format can't be {wanted.get('type')!r}")
