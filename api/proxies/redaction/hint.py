"""One line for a model that gets placeholders: what they are, and that they are to be left as they are."""

from __future__ import annotations

from typing import Any, Final, Literal

from api.proxies.dialects.names import CHAT, COUNT_TOKENS, MESSAGES, RESPONSES

Hint = Literal["append", "insert", "never"]
HINT: Final = (
    "Private details in this conversation are replaced by placeholders: a type and a number in square brackets. "
    "Treat each as the real value that it stands for, and repeat it exactly as it is written."
)
_FIELDS: Final = {RESPONSES: "instructions", MESSAGES: "system", COUNT_TOKENS: "system"}
_FIRST: Final = frozenset({"system", "developer"})


def with_hint(path: str, body: dict[str, Any], how: Hint) -> dict[str, Any]:
    """The request with the line where its dialect has the system's words; elsewhere as it was.

    Where it has none, a message that its app did not write is put there only if that was said: templates of some models
    refuse one, and whoever counts messages counts one more.
    """
    if how == "never":
        return body
    if path == CHAT:
        return {**body, "messages": _messages(body.get("messages"), how)}
    field = _FIELDS.get(path, "")
    said = body.get(field)
    if not field or (not said and how == "append"):
        return body
    if isinstance(said, list) and path != RESPONSES:
        return {**body, field: [*said, {"type": "text", "text": HINT}]}
    return {**body, field: _joined(said)} if isinstance(said, str | None) else body


def _messages(messages: Any, how: Hint) -> Any:
    """In the first message of the system: some models take one only, and at the beginning."""
    if not isinstance(messages, list):
        return messages
    first = messages[0] if messages else None
    if not isinstance(first, dict) or first.get("role") not in _FIRST:
        return messages if how == "append" else [{"role": "system", "content": HINT}, *messages]
    content = first.get("content")
    if isinstance(content, list):
        return [{**first, "content": [*content, {"type": "text", "text": HINT}]}, *messages[1:]]
    return [{**first, "content": _joined(content if isinstance(content, str) else None)}, *messages[1:]]


def _joined(before: str | None) -> str:
    return f"{before}\n\n{HINT}" if before else HINT
