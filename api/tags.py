"""Entity tags: what a client shows so that its change is made only to what it has read (RFC 9110, section 13)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, Header

from api.errors import Refused

TAG: Final = re.compile(r'\s*(\*|"([!#-~]{0,128})")\s*(?:,|$)')


def quoted(tag: str) -> str:
    """As it stands in an ETag header."""
    return f'"{tag}"'


def parsed(header: str, name: str) -> tuple[str, ...]:
    """The tags of an If-Match or If-None-Match header, without their quotes. Raises Refused for anything else."""
    found, at = list[str](), 0
    while at < len(header):
        match = TAG.match(header, at)
        if match is None:
            message = f'{name} holds tags as an ETag header gave them, such as "5f2b9c0d11aa77e3", or *'
            raise Refused(422, "InvalidRequest", message, field=name)
        found.append("*" if match[1] == "*" else match[2])
        at = match.end()
    return tuple(found)


def _wanted(
    if_match: Annotated[str | None, Header(max_length=1000, description="the tag of what was read")] = None,
) -> tuple[str, ...]:
    return parsed(if_match or "", "If-Match")


def _absent(
    if_none_match: Annotated[str | None, Header(max_length=1000, description="`*`: only if there is none")] = None,
) -> bool:
    given = parsed(if_none_match or "", "If-None-Match")
    if given not in {(), ("*",)}:
        message = "here If-None-Match can only be *: the change is meant for what is not there yet"
        raise Refused(422, "InvalidRequest", message, field="If-None-Match", allowed=["*"])
    return bool(given)


Wanted = Annotated[tuple[str, ...], Depends(_wanted)]
Absent = Annotated[bool, Depends(_absent)]
