"""Originals put back in an answer: streamed, or as one JSON body."""

from __future__ import annotations

from api.proxies.dialects.names import Dialect
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import JsonStringRestorer


class RestoringStream:
    """A streamed answer of one dialect (server-sent events; lines for Ollama), cut anywhere.

    `structured`: the text it says is a JSON document (the request's `response_format`), so it is restored at the level of
    its strings.
    """

    def __init__(self, dialect: Dialect, conversation: Conversation, *, structured: bool = False) -> None:
        del dialect, structured
        self._restorer = JsonStringRestorer(conversation)

    def feed(self, data: bytes) -> bytes:
        """What can go out now."""
        return data

    def end(self) -> bytes:
        """The rest, when nothing more comes."""
        return b""


def restored_body(dialect: Dialect, conversation: Conversation, body: bytes, *, structured: bool = False) -> bytes:
    """A whole answer, an error's too. What is no JSON is restored as text; what is no text goes through as it is."""
    del dialect, conversation, structured
    return body
