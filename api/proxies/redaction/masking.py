"""A whole request, masked: its words are gathered, looked at together, and written anew.

Two walks over the same JSON by the same rules (`fields`). The first gathers, so that everything is detected at once;
the second masks, in the same order, so that placeholders are numbered as a reader meets what they stand for.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeVar

from api.proxies.calls import Refused
from api.proxies.dialects.json_text import dumps, loads
from api.proxies.redaction.fields.walk import Rule, not_redacted
from api.proxies.redaction.finds import Find, joined
from api.proxies.redaction.forms import label_of
from api.proxies.redaction.hint import Hint, with_hint
from api.proxies.redaction.placeholders import Conversation

T = TypeVar("T")
Finder = Callable[[list[str]], Awaitable[Sequence[Sequence[Find]]]]
Words = tuple[str, str]
"""What they are called where they stand, and the words."""

SHORT: Final = 16 * 2**10
"""Bytes of a body up to which it is looked through at once, and not by a thread beside the loop."""
BY_MODEL: Final = frozenset(
    {
        *("PERSON", "LOCATION", "ORGANIZATION", "ADDRESS", "USERNAME", "TITLE", "JOB_TITLE"),
        *("NATIONALITY", "COUNTRY_CODE", "AGE", "DATE", "DATE_OF_BIRTH"),
    }
)
"""What is told from other words by a model, by lists or by what stands near: of names of tools, it would be a guess."""
# An id as servers make them, in which nothing is found but by chance: no number that could be somebody's, no dashes.
_MADE: Final = re.compile(
    r"(?!.*[0-9]{7})(?:call|chatcmpl|resp|msg|fc|rs|ctc|ws|toolu|srvtoolu|tool)[_-][A-Za-z0-9]{8,64}"
)
_PLAIN_NAME: Final = re.compile(r"(?:[A-Za-z_.-]+[0-9]{0,3}){1,4}")
_KEY: Final = os.urandom(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may go to where this request goes."""

    where: str
    """In words."""
    images: bool
    known: Callable[[str], bool] = lambda _: False
    """Whether a model's name is one of those that are declared, and no words."""
    named: bool = False
    """Whether its conversation has a name, so that what was masked before is known."""
    hint: Hint = "append"


class Asked(NamedTuple):
    """A request as it came. `long`: it is worked on beside the loop."""

    said: dict[str, Any]
    long: bool


class Span(NamedTuple):
    """One thing that was masked. `place`: in which field; empty for a text alone. Counted in code points."""

    place: str
    start: int
    end: int
    type: str
    score: float
    placeholder: str


@dataclass(slots=True, kw_only=True)
class Masked:
    """A request as it goes on."""

    body: bytes
    counts: Mapping[str, int]
    spans: list[Span] = field(default_factory=list)


class Gathering:
    """The first walk (`walk.Visitor`): whatever may hold something, each once."""

    def __init__(self, policy: Policy) -> None:
        self.words: dict[Words, None] = {}
        self._policy = policy

    def text(self, text: str, place: str, lead: str = "") -> str:
        """Words."""
        del place
        if text and not text.isspace():
            self.words.setdefault((lead, text))
        return text

    def name(self, name: str, place: str) -> str:
        """A name that is needed as it is: most are words and a number, in which no pattern can be."""
        return name if _PLAIN_NAME.fullmatch(name) else self.text(name, place)

    def ident(self, ident: str, place: str) -> str:
        """An id."""
        return ident if _MADE.fullmatch(ident) else self.text(ident, place)

    def model(self, model: str, place: str) -> str:
        """One that is declared, or words."""
        return model if self._policy.known(model) else self.text(model, place)

    def sealed(self, what: str, place: str) -> None:
        """Raises Refused where that may not go."""
        if not self._policy.images:
            raise not_redacted(
                place, f"is {what}: nothing in it can be masked, and it may not go to {self._policy.where}"
            )

    def remembered(self, place: str) -> None:
        """Raises Refused where nothing is known of what was said before."""
        if not self._policy.named:
            why = "refers to what was said before: name the conversation (`x-session-id`), so that it is known"
            raise not_redacted(place, why)


class Putting:
    """The second walk: the same with placeholders."""

    def __init__(self, policy: Policy, found: Mapping[Words, Sequence[Find]], conversation: Conversation) -> None:
        self._policy = policy
        self._found = found
        self._conversation = conversation
        self._mark = 0
        self._placeholders: dict[tuple[str, str], str] = {}
        self.spans: list[Span] = []

    def text(self, text: str, place: str, lead: str = "") -> str:
        """Words, masked."""
        if not text or text.isspace():
            return text
        finds = joined(self._found[lead, text], len(text))
        masked = self._conversation.mask(text, finds)
        for entry in self._conversation.since(self._mark):
            self._placeholders[label_of(entry.type), entry.original] = entry.placeholder
        self._mark = self._conversation.mark()
        for find in finds:
            placeholder = self._placeholders[label_of(find.type), text[find.start : find.end]]
            self.spans.append(Span(place, find.start, find.end, find.type, find.score, placeholder))
        return masked

    def name(self, name: str, place: str) -> str:
        """As it is, or not at all."""
        if any(find.type not in BY_MODEL for find in self._found.get(("", name), ())):
            raise not_redacted(
                place, "is a name that models and programs need as it is, and there is something private in it"
            )
        return name

    def ident(self, ident: str, place: str) -> str:
        """As it is; or another in its place, everywhere the same."""
        del place
        if any(find.type not in BY_MODEL for find in self._found.get(("", ident), ())):
            return "id_" + hmac.new(_KEY, ident.encode(), "sha256").hexdigest()[:24]
        return ident

    def model(self, model: str, place: str) -> str:
        """As it is, or masked like any words."""
        return model if self._policy.known(model) else self.text(model, place)

    def sealed(self, what: str, place: str) -> None:
        """It was let through before."""

    def remembered(self, place: str) -> None:
        """As above."""


async def read(body: bytes) -> Asked:
    """A request's JSON. Raises Refused."""
    said = await _done(lambda: _parsed(body), aside=len(body) > SHORT)
    return Asked(said, len(body) > SHORT)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        said = loads(body)
    except ValueError as error:
        message = f"the body is not valid JSON: {type(error).__name__}"  # whose own words may hold some of it
        raise Refused(400, "InvalidRequest", message) from None
    if not isinstance(said, dict):
        raise Refused(400, "InvalidRequest", "the body must be a JSON object")
    return said


async def masked(
    asked: Asked, path: str, table: Rule, conversation: Conversation, find: Finder, policy: Policy
) -> Masked:
    """A request as it may go on. Raises Refused for what may not, and what `find` raises."""
    words = await _done(lambda: _gathered(asked.said, table, policy), aside=asked.long)
    found = await looked_at(words, find)
    return await _done(lambda: _put(asked.said, path, table, conversation, found, policy), aside=asked.long)


def _gathered(said: dict[str, Any], table: Rule, policy: Policy) -> list[Words]:
    gathering = Gathering(policy)
    table(said, "", gathering)
    return list(gathering.words)


async def looked_at(words: Sequence[Words], find: Finder) -> dict[Words, Sequence[Find]]:
    """What is found in each; with what a value is called before it, which tells more of it than it does alone."""
    asked = [f"{lead}: {text}" if lead else text for lead, text in words]
    answers = await find(asked) if asked else []
    if len(answers) != len(words):
        raise Refused(503, "DetectorDown", "the detector did not answer for all that it was asked", retry_after=5)
    return {key: _shifted(finds, key) for key, finds in zip(words, answers, strict=True)}


def _shifted(finds: Sequence[Find], words: Words) -> Sequence[Find]:
    lead, text = words
    if not lead:
        return finds
    before = len(lead) + 2
    moved = (replace(find, start=max(0, find.start - before), end=find.end - before) for find in finds)
    return [find for find in moved if 0 <= find.start < find.end <= len(text)]


def _put(
    said: dict[str, Any],
    path: str,
    table: Rule,
    conversation: Conversation,
    found: Mapping[Words, Sequence[Find]],
    policy: Policy,
) -> Masked:
    putting = Putting(policy, found, conversation)
    put = table(said, "", putting)
    counts = counted(putting.spans)
    if counts:
        put = with_hint(path, put, policy.hint)
    return Masked(body=dumps(put), counts=counts, spans=putting.spans)


def counted(spans: Sequence[Span]) -> dict[str, int]:
    """How many different things of each type were masked."""
    each = {(span.type, span.placeholder) for span in spans}
    return dict(sorted(Counter(kind for kind, _ in each).items()))


async def _done(what: Callable[[], T], *, aside: bool) -> T:
    return await asyncio.to_thread(what) if aside else what()
