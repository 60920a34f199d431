"""A walk over a request's JSON: the same value again, with each of its words as a `Visitor` gives them back.

A rule is a function: the value, where it stands, and who looks at it. The rules here are the words in which the tables
of the dialects are written. Nothing here knows how words are found or masked.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from api.proxies.calls import Refused
from api.proxies.dialects.json_text import dumps

DEEPEST: Final = 100
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_.\-]{0,63}(?:_?[0-9]{1,8}[A-Za-z]?)?")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/\-]{1,128}")
_IDENT: Final = re.compile(r"[A-Za-z0-9_.:|/+=\-]{1,512}")
_KEY: Final = re.compile(r"[a-z_$][a-z_$\-]*[0-9]{0,4}[a-z_]{0,40}|[A-Za-z_]{1,40}|[0-9]{1,6}")
_BLOB: Final = re.compile(r"[A-Za-z0-9+/_\-\r\n]{1024,}={0,2}")
_SEALED: Final = re.compile(r"[A-Za-z0-9+/_.:\-]{40,}={0,2}")
_DATA_URL: Final = re.compile(r"data:([A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+)((?:;[A-Za-z0-9=_-]+)*),", re.ASCII)
_PACKED: Final = re.compile(r"[A-Za-z0-9+/\r\n]{40,}={0,2}")
_KIND: Final = re.compile(r"[a-z]{1,20}/[a-z.+\-]{1,60}[0-9]?")
_LONG_NUMBER: Final = 7  # digits
_A_WORD_OR_SO: Final = 100  # characters of a value whose name may say what it is
_TEXTS: Final = ("text/", "application/json", "application/xml", "application/x-yaml")


class Visitor(Protocol):
    """Who looks at the words."""

    def text(self, text: str, place: str, lead: str = "") -> str:
        """Words. `lead`: what they are called, where they stand under a name."""

    def name(self, name: str, place: str) -> str:
        """A name that the protocol needs as it is, such as a tool's. Raises Refused if it can't go."""

    def ident(self, ident: str, place: str) -> str:
        """An id that means something to programs only, but wherever it stands has to be the same."""

    def model(self, model: str, place: str) -> str:
        """The model's name."""

    def sealed(self, what: str, place: str) -> None:
        """Something that is no text, and that nobody can look into. Raises Refused if it can't go."""

    def remembered(self, place: str) -> None:
        """A reference to what was said in an earlier request. Raises Refused if nothing is known of that."""


Rule = Callable[[Any, str, Visitor], Any]


def not_redacted(place: str, why: str) -> Refused:
    """What can't be understood goes nowhere."""
    return Refused(422, "NotRedacted", f"`{place}` {why}", field=place)


# What is data: words wherever there are any.


def data(value: Any, place: str, visitor: Visitor, lead: str = "", depth: int = 0) -> Any:
    """Anything: each text, each name of a field, and each number that is long enough to be somebody's."""
    if depth > DEEPEST:
        raise not_redacted(place, "is nested too deeply to be looked through")
    if isinstance(value, str):
        if _BLOB.fullmatch(value) or _binary(value):
            visitor.sealed("data that is no text", place)
            return value
        return visitor.text(value, place, lead if len(value) <= _A_WORD_OR_SO else "")
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, inner in value.items():
            said = key(name, place, visitor)
            if said in found:
                raise not_redacted(_at(place, name), "has the same name as another field once it is masked")
            found[said] = data(inner, _at(place, name), visitor, name, depth + 1)
        return found
    if isinstance(value, list):
        return [data(inner, f"{place}[{at}]", visitor, lead, depth + 1) for at, inner in enumerate(value)]
    return value if value is None or isinstance(value, bool) else number(value, place, visitor, lead)


def text(value: Any, place: str, visitor: Visitor) -> Any:
    """Words; whatever else stands there is data."""
    return visitor.text(value, place) if isinstance(value, str) else data(value, place, visitor)


def number(value: float, place: str, visitor: Visitor, lead: str = "") -> float | str:
    """One that may be a card, an account or a telephone: if it is one, it goes as the text that stands for it."""
    said = json.dumps(value)
    if sum(character.isdigit() for character in said) < _LONG_NUMBER:
        return value
    found = visitor.text(said, place, lead)
    return value if found == said else found


def key(name: str, place: str, visitor: Visitor) -> str:
    """The name of a field that is no field of the protocol."""
    return name if _KEY.fullmatch(name) else visitor.text(name, _at(place, name))


def json_text(value: Any, place: str, visitor: Visitor) -> Any:
    """A text that holds JSON, as arguments and results of tools do: what stands in it, past its escapes."""
    if not isinstance(value, str):
        return data(value, place, visitor)
    try:
        said = json.loads(value, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        return visitor.text(value, place)
    if not isinstance(said, dict | list):
        return visitor.text(value, place)
    found = data(said, place, visitor)
    return value if found == said else dumps(found).decode()


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice: two readers could read two things")
    return found


# What is the protocol's, if it looks like it.


def word(value: Any, place: str, visitor: Visitor) -> Any:
    """One of a fixed set, such as a role or a type."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else data(value, place, visitor)


def amount(value: Any, place: str, visitor: Visitor) -> Any:
    """A number that is a setting: it counts nothing but tokens, or chance."""
    return value if isinstance(value, int | float) else data(value, place, visitor)


def name(value: Any, place: str, visitor: Visitor) -> Any:
    """A name that the protocol needs as it is."""
    return (
        visitor.name(value, place) if isinstance(value, str) and _NAME.fullmatch(value) else text(value, place, visitor)
    )


def ident(value: Any, place: str, visitor: Visitor) -> Any:
    """An id."""
    return (
        visitor.ident(value, place)
        if isinstance(value, str) and _IDENT.fullmatch(value)
        else text(value, place, visitor)
    )


def remembered(value: Any, place: str, visitor: Visitor) -> Any:
    """The id of something that was said before, and is not here."""
    if value is None:
        return None
    visitor.remembered(place)
    return ident(value, place, visitor) if isinstance(value, str) else obj({"id": ident})(value, place, visitor)


def model(value: Any, place: str, visitor: Visitor) -> Any:
    """The model."""
    return visitor.model(value, place) if isinstance(value, str) else data(value, place, visitor)


def opaque(value: Any, place: str, visitor: Visitor) -> Any:
    """What a model's server has sealed for itself: signatures, encrypted thoughts. A text in disguise is none."""
    if not isinstance(value, str) or not _SEALED.fullmatch(value) or _disguised(value):
        return text(value, place, visitor)
    return value


def _disguised(value: str) -> bool:
    try:
        said = base64.b64decode(value, validate=True).decode()
    except (ValueError, UnicodeDecodeError):
        return False
    return all(character.isprintable() or character.isspace() for character in said)


# What is no text.


def picture(value: Any, place: str, visitor: Visitor) -> Any:
    """One in the request itself may pass where the settings say so; an address would be asked by somebody else."""
    if isinstance(value, dict):
        inner = next((named for named in ("url", "image_url", "data") if value.get(named) is not None), "")
        frame = {"type": word, "detail": word, "media_type": media_type}
        return obj({**frame, inner: _pixels})(value, place, visitor) if inner else _pixels(None, place, visitor)
    return None if value is None else _pixels(value, place, visitor)


def _pixels(value: Any, place: str, visitor: Visitor) -> Any:
    found = _DATA_URL.match(value) if isinstance(value, str) else None
    inside = found[1].startswith("image/") if found else isinstance(value, str) and _PACKED.fullmatch(value)
    if not inside:
        raise not_redacted(place, "leads to a picture that is not in the request: send it as a data: URL, or as base64")
    visitor.sealed("a picture", place)
    return value


def media_type(value: Any, place: str, visitor: Visitor) -> Any:
    """What a file is."""
    return value if isinstance(value, str) and _KIND.fullmatch(value) else text(value, place, visitor)


def sound(value: Any, place: str, visitor: Visitor) -> Any:
    """Never: what is said in it can't be masked."""
    del visitor
    if value is None:
        return None
    raise not_redacted(place, "is a sound, in which nothing can be masked")


def elsewhere(value: Any, place: str, visitor: Visitor) -> Any:
    """A file that is not in the request."""
    del visitor
    if value is None:
        return None
    raise not_redacted(place, "leads to a file that is not in the request, and can't be looked through")


def file_data(value: Any, place: str, visitor: Visitor, kind: str = "") -> Any:
    """A file in the request: its text is masked; what is no text is refused. `kind`: its media type, if said apart."""
    if not isinstance(value, str):
        return data(value, place, visitor)
    found = _DATA_URL.match(value)
    kind = found[1] if found else kind
    if not kind.startswith(_TEXTS) or (found and ";base64" not in found[2]):
        raise not_redacted(place, "is a file that is no text (text/plain and the like, in base64)")
    start = found.end() if found else 0
    try:
        said = base64.b64decode(value[start:], validate=True).decode()
    except (binascii.Error, ValueError):
        raise not_redacted(place, "is no text in UTF-8, in base64") from None
    masked = visitor.text(said, place)
    return value if masked == said else value[:start] + base64.b64encode(masked.encode()).decode()


def _binary(value: str) -> bool:
    return _DATA_URL.match(value) is not None and len(value) > 1024  # noqa: PLR2004  # as of a blob


# How they are put together.


def obj(fields: Mapping[str, Rule], *, last: str = "") -> Rule:
    """An object: these fields by their rules, all others are data. `last`: the one that grows from call to call.

    Placeholders are numbered as they are met: what grows comes last, so that what was said before keeps its numbers.
    """

    def rule(value: Any, place: str, visitor: Visitor) -> Any:
        if not isinstance(value, dict):
            return text(value, place, visitor)
        found: dict[str, Any] = {}
        for named in sorted(value, key=lambda n: n == last) if last in value else value:
            inner = fields.get(named)
            if inner is None:
                found |= data({named: value[named]}, place, visitor)
            else:
                found[named] = inner(value[named], _at(place, named), visitor)
        return found

    return rule


def each(rule: Rule) -> Rule:
    """A list of them, or one alone."""

    def every(value: Any, place: str, visitor: Visitor) -> Any:
        if isinstance(value, list):
            return [rule(inner, f"{place}[{at}]", visitor) for at, inner in enumerate(value)]
        return None if value is None else rule(value, place, visitor)

    return every


def kinds(by: Mapping[str, Rule], other: Rule, *, field: str = "type") -> Rule:
    """An object whose fields depend on its type."""

    def rule(value: Any, place: str, visitor: Visitor) -> Any:
        said = value.get(field) if isinstance(value, dict) else None
        return (by.get(said, other) if isinstance(said, str) else other)(value, place, visitor)

    return rule


def tokens(value: Any, place: str, visitor: Visitor) -> Any:
    """A text, or texts; never numbers that stand for text."""
    if isinstance(value, list):
        return [tokens(inner, f"{place}[{at}]", visitor) for at, inner in enumerate(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise not_redacted(place.partition("[")[0], "holds tokens, which can't be looked through: send texts")
    return text(value, place, visitor)


_SCHEMAS: Final = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_INNER: Final = frozenset(
    {
        *("items", "prefixItems", "anyOf", "allOf", "oneOf", "not", "if", "then", "else", "contains"),
        *("additionalProperties", "propertyNames", "unevaluatedProperties", "unevaluatedItems"),
    }
)
_REF: Final = re.compile(r"#(?:/[A-Za-z0-9_$.\-]*)*|https?://json-schema\.org/[a-z0-9/\-]*#?")


def schema(value: Any, place: str, visitor: Visitor, depth: int = 0) -> Any:
    """A JSON schema: its keywords and types are the protocol's, everything else in it is somebody's words."""
    if isinstance(value, list):
        return [schema(inner, f"{place}[{at}]", visitor, depth + 1) for at, inner in enumerate(value)]
    if not isinstance(value, dict) or depth > DEEPEST:
        return data(value, place, visitor)
    found: dict[str, Any] = {}
    for named, inner in value.items():
        at = _at(place, named)
        if named in _SCHEMAS and isinstance(inner, dict):
            found[named] = {
                key(n, at, visitor): schema(each_one, _at(at, n), visitor, depth + 1) for n, each_one in inner.items()
            }
        elif named in _INNER:
            found[named] = schema(inner, at, visitor, depth + 1)
        elif named in {"type", "format"}:
            found[named] = each(word)(inner, at, visitor)
        elif named == "required" and isinstance(inner, list):
            found[named] = [key(n, at, visitor) if isinstance(n, str) else data(n, at, visitor) for n in inner]
        elif named in {"$ref", "$schema"} and isinstance(inner, str) and _REF.fullmatch(inner):
            found[named] = inner
        else:
            found |= data({named: inner}, place, visitor)
    return found


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
