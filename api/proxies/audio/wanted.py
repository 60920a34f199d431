"""What a form with a sound asks for, and the forms that are made of it for a model's server. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from api.proxies.audio.received import Part
from api.proxies.calls import Refused

FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json", "rttm")
SPEAKERS: Final = frozenset({"diarized_json", "rttm"})
"""Formats that tell who speaks."""
GRANULARITIES: Final = ("word", "segment")
CHOICES: Final = ("fail", "plain")
OURS: Final = frozenset({"diarizer", "diarizer_down"})
"""Fields that no model's server is sent."""
_SPELT: Final = re.compile(r"timestamp_granularit(?:y|ies)(?:\[\])?")
_LISTS: Final = frozenset({"include", "known_speaker_names", "known_speaker_references"})
_COUNTS: Final = frozenset({"num_speakers", "min_speakers", "max_speakers"})
_PER_MERGE: Final = frozenset({"response_format", "stream", "chunking_strategy", *_COUNTS, *_LISTS})
"""Fields that the STT model of a merged transcript is not sent: they are about the whole."""
_TRUE: Final = frozenset({"true", "1", "True"})
_FALSE: Final = frozenset({"false", "0", "False", ""})
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for. `fields`: every field by its name without brackets, in order."""

    parts: Sequence[Part]
    fields: Mapping[str, Sequence[str]] = field(repr=False)
    model: str
    format: str
    stream: bool
    granularities: Sequence[str]
    diarizer: str
    plain: bool
    """Whether a transcript without speakers will do if the diarizer can't say them."""
    words: bool
    """Whether each segment's words are wanted too."""
    filename: str
    raw: bytes = b""
    """The header of the part with the sound."""

    @property
    def names(self) -> Sequence[str]:
        """The speakers that the caller knows."""
        return self.fields.get("known_speaker_names", ())

    @property
    def in_words(self) -> bool:
        """Whether the words' times are wanted, of which servers keep some at other places."""
        return self.format == "verbose_json" and "word" in self.granularities

    @property
    def speakers(self) -> bool:
        """Whether who speaks is to be told."""
        return self.format in SPEAKERS or bool(self.diarizer)


def form_of(wanted: Wanted) -> str:
    """What a model is able to say, or not."""
    return f"{wanted.format} with words" if wanted.in_words else wanted.format


def wanted(parts: Sequence[Part]) -> Wanted:
    """Raises Refused."""
    sound = next((part for part in parts if part.value is None), None)
    if sound is None:
        raise Refused(400, "FileMissing", "the form has no part named `file` with the sound in it", field="file")
    fields = _fields(parts)
    form = _word(fields, "response_format", FORMATS) or "json"
    made = Wanted(
        parts=parts,
        fields=fields,
        model=_one(fields, "model"),
        format=form,
        stream=_flag(fields, "stream"),
        granularities=_granularities(fields, form),
        diarizer=_one(fields, "diarizer"),
        plain=_word(fields, "diarizer_down", CHOICES) == "plain",
        words="words" in fields.get("include", ()),
        filename=sound.head.filename or "sound",
        raw=sound.head.raw,
    )
    if form == "rttm" and made.plain:
        message = "`rttm` says nothing but who speaks, so there is no plain one; leave `diarizer_down` out"
        raise Refused(400, "BadValue", message, field="diarizer_down", allowed=["fail"])
    if made.stream and form not in {"json", "text", "diarized_json"}:
        message = f"`{form}` is not streamed"
        raise Refused(400, "BadValue", message, field="stream", allowed=["json", "text", "diarized_json"])
    return made


def _fields(parts: Sequence[Part]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in parts:
        if part.value is None:
            continue
        name = _name(part)
        try:
            found.setdefault(name, []).append(part.value.decode())
        except UnicodeDecodeError:
            raise Refused(400, "BadValue", f"`{name[:_LONGEST]}` is not UTF-8", field=name[:_LONGEST]) from None
    return found


def _one(fields: Mapping[str, Sequence[str]], name: str) -> str:
    said = fields.get(name, ())
    if len(said) > 1:
        raise Refused(400, "BadValue", f"`{name}` is said {len(said)} times", field=name)
    return said[0].strip() if said else ""


def _word(fields: Mapping[str, Sequence[str]], name: str, allowed: Sequence[str]) -> str:
    said = _one(fields, name)
    if said and said not in allowed:
        raise Refused(400, "BadValue", f"`{name}` is not `{said[:_LONGEST]}`", field=name, allowed=allowed)
    return said


def _flag(fields: Mapping[str, Sequence[str]], name: str) -> bool:
    said = _one(fields, name)
    if said not in _TRUE | _FALSE:
        raise Refused(400, "BadValue", f"`{name}` is true or false", field=name, allowed=["true", "false"])
    return said in _TRUE


def _granularities(fields: Mapping[str, Sequence[str]], form: str) -> Sequence[str]:
    said = [word.strip() for each in fields.get("timestamp_granularities", ()) for word in each.split(",")]
    bad = next((word for word in said if word not in GRANULARITIES), None)
    if bad is not None:
        name, message = "timestamp_granularities[]", f"a granularity is not `{bad[:_LONGEST]}`"
        raise Refused(400, "BadValue", message, field=name, allowed=GRANULARITIES)
    if said and form != "verbose_json":
        message = f"times are told in `verbose_json`, not in `{form}`"
        raise Refused(400, "BadValue", message, field="timestamp_granularities[]", allowed=["verbose_json"])
    return said


# Forms for a model's server.

Letter = tuple[bytes, bytes]
"""What stands before the sound, and what behind it."""


def as_it_came(wanted: Wanted, boundary: bytes, model: str) -> Letter:
    """The same, with the model as its server calls it, and granularities in the spelling that OpenAI's API has."""
    return _letter(_named(wanted.parts, {*OURS, "model"}), boundary, [("model", model)])


def with_times(wanted: Wanted, boundary: bytes, model: str) -> Letter:
    """What everything else can be made of: words with their times."""
    more = [
        ("model", model),
        ("response_format", "verbose_json"),
        *(("timestamp_granularities[]", each) for each in GRANULARITIES),
    ]
    kept = _named(wanted.parts, {*OURS, *_PER_MERGE, "model", "timestamp_granularities"})
    return _letter(kept, boundary, more)


def for_diarizer(wanted: Wanted, boundary: bytes, model: str) -> Letter:
    """The sound, who is known, and how many."""
    passed = {*_COUNTS, "known_speaker_names", "known_speaker_references"}
    kept = [part for part in wanted.parts if part.value is None or _name(part) in passed]
    return _letter(kept, boundary, [("model", model)])


def _named(parts: Iterable[Part], without: Collection[str]) -> list[Part]:
    return [part for part in parts if part.value is None or _name(part) not in without]


def _name(part: Part) -> str:
    """Without its brackets; of granularities the usual one."""
    return "timestamp_granularities" if _SPELT.fullmatch(part.head.name) else part.head.name.removesuffix("[]")


def _letter(parts: Sequence[Part], boundary: bytes, more: Sequence[tuple[str, str]]) -> Letter:
    before, behind = bytearray(), bytearray()
    out = before
    for name, value in more:
        if value:
            out += _part(boundary, b'Content-Disposition: form-data; name="%b"\r\n\r\n' % name.encode(), value.encode())
    for part in parts:
        raw = part.head.raw
        if part.value is not None and _SPELT.fullmatch(part.head.name):
            raw = b'Content-Disposition: form-data; name="timestamp_granularities[]"\r\n\r\n'
        if part.value is None:
            out += b"--%b\r\n%b" % (boundary, raw)
            out = behind
            out += b"\r\n"
        else:
            out += _part(boundary, raw, bytes(part.value))
    out += b"--%b--\r\n" % boundary
    return bytes(before), bytes(behind)


def _part(boundary: bytes, head: bytes, value: bytes) -> bytes:
    return b"--%b\r\n%b%b\r\n" % (boundary, head, value)
