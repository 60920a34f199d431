"""Many events made few, the way client-go's events_cache does it.

The same event again raises the count of the one that is there. More than ten that differ only in their message
within ten minutes are combined into one. One object may say 25 things at once and one more every five minutes;
what is beyond that is dropped and counted. Pure: the time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, TypeVar

from state.journal_rows import MAX_MESSAGE, Event, Recorded, head

CACHE: Final = 4096
SIMILAR: Final = 10
SIMILAR_WINDOW: Final = 600.0
REPEAT_WINDOW: Final = 3600.0  # Kubernetes forgets an event after an hour, so its count begins anew
BURST: Final = 25.0
REFILL: Final = 1 / 300.0
COMBINED: Final = "(combined from similar events): "

Key: TypeAlias = tuple[str, ...]
_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Similar:
    """The messages of one source, object, type and reason."""

    last_at: float
    messages: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Bucket:
    """What one object may still say."""

    at: float
    tokens: float = BURST


class Correlator:
    """What becomes of each event: a new row, a higher count of a known one, or nothing."""

    def __init__(self, known: Iterable[Recorded] = ()) -> None:
        self.suppressed = 0
        self._known: OrderedDict[Key, Recorded] = OrderedDict()
        self._similar: OrderedDict[Key, _Similar] = OrderedDict()
        self._buckets: OrderedDict[Key, _Bucket] = OrderedDict()
        for recorded in known:
            combined = recorded.event.message.startswith(COMBINED)
            _remember(self._known, _full_key(recorded.event, combined=combined), recorded)

    def take(self, event: Event, *, seq: int, now: float) -> tuple[Recorded, Recorded | None] | None:
        """The row for this event and the row that it replaces; None if the object has said too much."""
        if not self._may_speak(event, now):
            self.suppressed += 1
            return None
        event, combined = self._combine(event, now)
        key = _full_key(event, combined=combined)
        before = self._known.get(key)
        if before is not None and now - before.last_at > REPEAT_WINDOW:
            before = None
        if before is None:
            after = Recorded(seq=seq, id=seq, event=event, count=1, first_at=now, last_at=now)
        else:
            after = replace(before, seq=seq, event=event, count=before.count + 1, last_at=max(now, before.last_at))
        _remember(self._known, key, after)
        return after, before

    def _may_speak(self, event: Event, now: float) -> bool:
        key = (event.source, str(event.kind), event.name, event.spark)
        bucket = self._buckets.get(key) or _Bucket(at=now)
        bucket.tokens = min(BURST, bucket.tokens + max(0.0, now - bucket.at) * REFILL)
        bucket.at = now
        _remember(self._buckets, key, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _combine(self, event: Event, now: float) -> tuple[Event, bool]:
        """The event as it is, or marked as one of many that are alike."""
        key = _object_key(event)
        similar = self._similar.get(key)
        if similar is None or now - similar.last_at > SIMILAR_WINDOW:
            similar = _Similar(last_at=now)
        similar.last_at = now
        _remember(self._similar, key, similar)
        if event.message in similar.messages:
            return event, False
        if len(similar.messages) < SIMILAR:
            similar.messages.add(event.message)
            return event, False
        return replace(event, message=head(COMBINED + event.message, MAX_MESSAGE)), True


def _object_key(event: Event) -> Key:
    return (event.source, str(event.kind), event.name, event.spark, event.type, event.reason)


def _full_key(event: Event, *, combined: bool) -> Key:
    return (*_object_key(event), COMBINED if combined else event.message)


def _remember(cache: OrderedDict[Key, _Value], key: Key, value: _Value) -> None:
    """The least recently used is forgotten first."""
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > CACHE:
        cache.popitem(last=False)
