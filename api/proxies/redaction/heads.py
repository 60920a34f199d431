"""What of a request's head goes on where words are masked: a short list, each value of a form that can hold none."""

from __future__ import annotations

import re
from typing import Final

from api.proxies.head import Head

_BETA: Final = rb"[a-z][a-z-]{1,40}[a-z0-9-]{0,6}-20[0-9]{2}-[0-9]{2}-[0-9]{2}"
_KIND: Final = rb"(?:\*/\*|application/json|text/event-stream)"
_PASS: Final[dict[bytes, re.Pattern[bytes]]] = {
    b"accept": re.compile(_KIND + rb"(?:, ?" + _KIND + rb"){0,2}"),
    b"anthropic-version": re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    b"anthropic-beta": re.compile(_BETA + rb"(?:, ?" + _BETA + rb"){0,31}"),
    b"openai-beta": re.compile(rb"[a-z_-]{1,40}=v[0-9]{1,2}"),
    b"sparkkeep-on-error": re.compile(rb"skip|fail"),
    b"x-request-id": re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
}  # fmt: skip
_JSON: Final = (b"content-type", b" application/json")


def passing(head: Head) -> Head:
    """The head as it may go on."""
    fields = [
        (name, value)
        for name, value in head.fields
        if (form := _PASS.get(name.lower())) is not None and form.fullmatch(value.strip(b" \t"))
    ]
    return head.only([*fields, _JSON])
