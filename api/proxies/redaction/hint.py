"""One line for a model that gets placeholders: what they are, and that they are to be left as they are."""

from __future__ import annotations

from typing import Any, Final

from api.proxies.dialects.names import CHAT, COUNT_TOKENS, MESSAGES, RESPONSES

HINT: Final = (
    "Private details in this conversation are replaced by placeholders: a type and a number in square brackets. "
    "Treat each as the real value that it stands for, and repeat it exactly as it is written."
)
_FIRST: Final = frozenset({"system", "developer"})


def with_hint(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The request with the line where its dialect has the system's words; elsewhere as it was."""
    if path == CHAT:
        return {**body, "messages": _messages(body.get("messages"))}
    if path == RESPONSES and isinstance(body.get("instructions"), str | None):
        return {**body, "instructions": _joined(body.get("instructions"))}
    if path in {MESSAGES, COUNT_TOKENS} and isinstance(body.get("system"), str | None):
        return {**body, "system": _joined(body.get("system"))}
    if path in {MESSAGES, COUNT_TOKENS} and isinstance(body.get("system"), list):
        return {**body, "system": [*body["system"], {"type": "text", "text": HINT}]}
    return body


def _messages(messages: Any) -> Any:
    """In the first message of the system: some models take one only, and at the beginning."""
    if not isinstance(messages, list):
        return messages
    first = messages[0] if messages else None
    if not isinstance(first, dict) or first.get("role") not in _FIRST:
        return [{"role": "system", "content": HINT}, *messages]
    content = first.get("content")
    if isinstance(content, list):
        return [{**first, "content": [*content, {"type": "text", "text": HINT}]}, *messages[1:]]
    return [{**first, "content": _joined(content if isinstance(content, str) else None)}, *messages[1:]]


def _joined(before: str | None) -> str:
    return f"{before}\n\n{HINT}" if before else HINT
