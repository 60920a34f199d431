"""The first event of a stream: whether a backend that said 200 went on to say that it can't."""

from __future__ import annotations

import json
import re
from typing import Final

from api.proxies.chunks import Chunks
from api.proxies.head import CHUNKED, AnswerHead

_BLANK: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def failed(head: AnswerHead, raw: bytes, *, ended: bool) -> bool | None:
    """Whether the first event is an error; None: it is not all there."""
    text = content(head, raw)
    if head.lines:
        line, end, _ = text.lstrip().partition(b"\n")
        return _is_error(line) if end or ended else None
    while (found := _BLANK.search(text)) is not None:
        event, text = text[: found.start()], text[found.end() :]
        lines = [line for line in event.splitlines() if line and not line.startswith(b":")]
        if lines:
            return _says_error(lines)
    return None


def content(head: AnswerHead, raw: bytes) -> bytes:
    """What stands in the first bytes of a body."""
    if head.length != CHUNKED:
        return raw
    into: list[bytes] = []
    Chunks().feed(raw, 0, into)
    return b"".join(into)


def _says_error(lines: list[bytes]) -> bool:
    if any(line.partition(b":")[0] == b"event" and line.partition(b":")[2].strip() == b"error" for line in lines):
        return True
    data = b"\n".join(line.partition(b":")[2].strip() for line in lines if line.partition(b":")[0] == b"data")
    return _is_error(data)


def _is_error(data: bytes) -> bool:
    if b'"error"' not in data:
        return False
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and bool(said.get("error"))
