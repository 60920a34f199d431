"""What is to be told of what is wrong: only what lasts, once, and again when it is over. Pure; the time is an argument.

An episode of a trouble (of one subject, for one reason) begins with the first look that sees it. When it has lasted
long enough it is told; after a day it is told again, as a reminder; when its subject is well it is over, and that is
told if the trouble was. So of each trouble "firing" and "resolved" take turns, whatever flaps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from api.notify.troubles import Key, Look, Trouble, topic_of
from state.journal import Told
from state.notifications import Topic

REMIND: Final = 24 * 3600.0  # seconds

State = Literal["firing", "resolved", "reminder", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell. `since`: when it began, in Unix seconds."""

    state: State
    trouble: Trouble
    since: float
    at: float


@dataclass(slots=True)
class Episode:
    """One trouble from its beginning. `lost`: it was to be told, and the address did not take it."""

    trouble: Trouble
    since: float
    told_at: float | None = None
    lost: bool = False


class Book:
    """The open episodes of one notification."""

    def __init__(self, told: Iterable[Told] = ()) -> None:
        """With what an earlier process has told."""
        self._open: dict[Key, Episode] = {}
        for each in told:
            trouble = Trouble(subject=each.subject, reason=each.reason, title=each.title, message="", advice="")
            self._open[trouble.key] = Episode(trouble, each.since, each.at)

    def look(self, seen: Look, *, now: float, after: float, topics: Collection[Topic]) -> list[Notice]:
        """What is to be told now."""
        notices = [*self._over(seen, now)]
        for key, trouble in seen.troubles.items():
            if trouble.topic in topics:
                episode = self._open.setdefault(key, Episode(trouble, now))
                episode.trouble = trouble
                episode.since = min(episode.since, now)  # a clock that was set back makes no wait longer
                if state := _due(episode, now, after):
                    episode.told_at, episode.lost = now, False
                    notices.append(Notice(state=state, trouble=trouble, since=episode.since, at=now))
        return notices

    def keep_only(self, topics: Collection[Topic]) -> list[Key]:
        """Forget, without a word, what nobody wants to hear of any more; the keys of what was forgotten."""
        gone = [key for key in self._open if topic_of(key[1]) not in topics]
        for key in gone:
            del self._open[key]
        return gone

    def lost(self, notice: Notice) -> None:
        """It could not be delivered: so nobody is told of its end, and it is told anew when its reminder is due."""
        episode = self._open.get(notice.trouble.key)
        if episode is not None and episode.since == notice.since and notice.state == "firing":
            episode.lost = True

    def _over(self, seen: Look, now: float) -> Iterable[Notice]:
        for key in [key for key in self._open if key not in seen.troubles and seen.is_well(key[0])]:
            episode = self._open.pop(key)
            if episode.told_at is not None and not episode.lost:
                yield Notice(state="resolved", trouble=episode.trouble, since=episode.since, at=now)


def _due(episode: Episode, now: float, after: float) -> State | None:
    if episode.told_at is None:
        return "firing" if now - episode.since >= after else None
    episode.told_at = min(episode.told_at, now)
    if now - episode.told_at < REMIND:
        return None
    return "firing" if episode.lost else "reminder"
