"""Originals put back in JSON that is whole: an answer, an error, what an event repeats."""

from __future__ import annotations

import json
from typing import Any, Final

from api.proxies.dialects.json_text import dumps
from api.proxies.dialects.names import Dialect
from api.proxies.redaction.forms import WHOLE
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import JsonStringRestorer, restore

UNTOUCHED: Final = frozenset(
    {"id", "object", "model", "type", "role", "name", "call_id", "tool_call_id", "item_id", "response_id",
     "previous_response_id", "finish_reason", "stop_reason", "status", "system_fingerprint", "service_tier",
     "signature", "encrypted_content", "data", "created_at", "b64_json", "partial_image_b64", "obfuscation"}
)  # fmt: skip
"""Fields whose text is for programs: names of tools and models, ids, what is signed or encoded."""

AS_SAID: Final = "logprobs"
"""Tokens stay what the model said: their numbers and bytes belong to the placeholders, which tell nothing."""

DATA: Final = frozenset({"input", "arguments", "parsed"})
"""Objects that are the arguments of a call: in them every text counts, keys too."""

DOCUMENTS: Final = frozenset({"arguments", "partial_json"})
ANSWERS: Final = frozenset({"content", "text", "response", "output_text"})


class Walker:
    """Goes through one value and puts originals back in its place."""

    def __init__(self, conversation: Conversation, *, structured: bool = False) -> None:
        self._conversation = conversation
        self._structured = structured
        self.changed = False

    def walk(self, value: Any, but: frozenset[tuple[int, str]] = frozenset()) -> Any:
        """The value, changed where it stood. `but`: fields that are done, by the id of what holds them."""
        if isinstance(value, dict):
            for key, held in value.items():
                if (id(value), key) not in but:
                    value[key] = self._field(key, held, but)
            return value
        if isinstance(value, list):
            value[:] = [self.walk(item, but) for item in value]
            return value
        return self._text(value) if isinstance(value, str) else value

    def _field(self, key: str, held: Any, but: frozenset[tuple[int, str]]) -> Any:
        if key == AS_SAID or (key in UNTOUCHED and isinstance(held, str)):
            return held
        if isinstance(held, str):
            document = key in DOCUMENTS or (self._structured and key in ANSWERS)
            return self._document(held) if document else self._text(held)
        return self._data(held) if key in DATA else self.walk(held, but)

    def _data(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._text(key): self._data(held) for key, held in value.items()}
        if isinstance(value, list):
            return [self._data(item) for item in value]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        if WHOLE.search(text) is None:
            return text
        return self._noted(text, restore(text, self._conversation))

    def _document(self, text: str) -> str:
        restorer = JsonStringRestorer(self._conversation)
        return self._noted(text, restorer.feed(text) + restorer.end())

    def _noted(self, text: str, found: str) -> str:
        self.changed |= found != text
        return found


def restored_body(dialect: Dialect, conversation: Conversation, body: bytes, *, structured: bool = False) -> bytes:
    """A whole answer, an error's too; as it came where there is nothing to put back.

    The fields of all dialects are known at once: none has a name that means something else in another.

    What is no JSON is restored as text, and what is no text goes through: a placeholder that is left tells nothing.
    """
    del dialect
    if not conversation.issued:
        return body
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return _restored_text(conversation, body)
    walker = Walker(conversation, structured=structured)
    try:
        value = walker.walk(value)
    except RecursionError:
        return body
    return dumps(value) if walker.changed else body


def _restored_text(conversation: Conversation, body: bytes) -> bytes:
    try:
        return restore(body.decode(), conversation).encode()
    except UnicodeError:
        return body
