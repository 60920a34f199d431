"""Originals put back in a streamed answer.

One restorer for each choice and channel. An event that changes is written again, all others go through byte for byte.
What a channel holds goes out before the event that ends it, as an event of the same shape.
"""

from __future__ import annotations

import json
from typing import Any, Final

from api.proxies.dialects.json_text import dumps
from api.proxies.dialects.names import Dialect
from api.proxies.redaction.bodies import Walker, restored_body
from api.proxies.redaction.channels import Channel, Json, Slot, see
from api.proxies.redaction.framing import Blocks, Events, Framing, Lines
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import JsonStringRestorer, Restorer

__all__ = ["RestoringStream", "restored_body"]

DONE: Final = b"[DONE]"
NUMBER: Final = "sequence_number"
START, DELTA = "content_block_start", "content_block_delta"


class RestoringStream:
    """A streamed answer of one dialect (server-sent events; lines for Ollama), cut anywhere.

    `structured`: the text it says is a JSON document (the request's `response_format`), so it is restored at the level
    of its strings. What was issued after its beginning is restored too.
    """

    def __init__(self, dialect: Dialect, conversation: Conversation, *, structured: bool = False) -> None:
        self._dialect = dialect
        self._conversation = conversation
        self._structured = structured
        self._framing: Framing = Lines() if dialect is Dialect.OLLAMA else Events()
        self._blocks = Blocks(self._framing)
        self._restorers: dict[Channel, Restorer | JsonStringRestorer] = {}
        self._last: dict[Channel, tuple[str, Slot]] = {}  # the event that last said something there
        self._added = 0  # events that are ours
        self._raw = not conversation.issued  # nothing to put back, or nothing that could be understood

    def feed(self, data: bytes) -> bytes:
        """What can go out now."""
        if self._raw:
            return data
        found = b"".join(map(self._block, self._blocks.feed(data)))
        if self._blocks.too_long:
            self._raw = True
            found += self._flushed([()]) + self._blocks.rest()
        return found

    def end(self) -> bytes:
        """The rest, when nothing more comes. Some servers leave out the last blank line."""
        rest = self._blocks.rest()
        found = self._block(rest) if rest else b""
        return found + self._flushed([()])

    def _block(self, block: bytes) -> bytes:
        name, data = self._framing.read(block)
        if not data:
            return block
        if data.strip() == DONE:
            return self._flushed([()]) + block
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return block
        return self._event(block, name, event) if isinstance(event, dict) else block

    def _event(self, block: bytes, name: str, event: Json) -> bytes:
        seen = see(self._dialect, event)
        changed = False
        for slot in seen.slots:
            text = slot.holder[slot.field]
            restored = self._restored(name, slot, text)
            if text and _under(slot.channel, seen.ended):
                restored += self._restorers.pop(slot.channel).end()
            slot.holder[slot.field] = restored
            changed |= restored != text
        before = self._flushed(seen.ended, event.get(NUMBER)) if seen.ended else b""
        if seen.more:
            walker = Walker(self._conversation, structured=self._structured)
            walker.walk(event, frozenset((id(slot.holder), slot.field) for slot in seen.slots))
            changed |= walker.changed
        if self._added and _counts(event.get(NUMBER)):
            event[NUMBER] += self._added
            changed = True
        if not changed:
            return before + block
        return before + self._framing.rewritten(block, dumps(event))

    def _restored(self, name: str, slot: Slot, text: str) -> str:
        restorer = self._restorers.get(slot.channel)
        if restorer is None:
            document = slot.document or (slot.answer and self._structured)
            restorer = JsonStringRestorer(self._conversation) if document else Restorer(self._conversation)
            self._restorers[slot.channel] = restorer
        self._last[slot.channel] = (name, slot)
        return restorer.feed(text)

    def _flushed(self, ended: list[Channel], number: Any = None) -> bytes:
        """What the channels under these still hold, as events."""
        found: list[bytes] = []
        for channel in [channel for channel in self._restorers if _under(channel, ended)]:
            if text := self._restorers.pop(channel).end():
                name, slot = self._last[channel]
                event = slot.shape(text)
                if _counts(event.get(NUMBER)):
                    event[NUMBER] = (number if _counts(number) else event[NUMBER] + 1) + self._added
                    self._added += 1
                found.append(
                    self._framing.written(
                        name if name != "content_block_start" else "content_block_delta", dumps(event)
                    )
                )
        return b"".join(found)


def _under(channel: Channel, ended: list[Channel]) -> bool:
    return any(channel[: len(begins)] == begins for begins in ended)


def _counts(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
