"""The head of a request: what no honest client sends is refused before anything is made of it.

The server has split it already (h11: no bare line ends, no NUL, exactly one Host). What is left are paths that two
readers could understand in two ways, targets that are no path at all, and heads without measure.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Scope

Answer = tuple[int, str, str]

MAX_FIELDS: Final = 100
MAX_HEAD: Final = 32 * 2**10  # bytes of names and values
MAX_TARGET: Final = 8 * 2**10
LENGTH: Final = re.compile(rb"[0-9]{1,18}")
ENCODED_SLASH: Final = re.compile(rb"%2f|%5c", re.IGNORECASE)
UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")


def fault(scope: Scope, *, slashes: bool) -> Answer | None:
    """What is wrong with a request's head: status, reason, sentence. `slashes`: names in its path may hold one."""
    return _path(scope, slashes=slashes) or _measure(scope) or _fields(scope)


def _path(scope: Scope, *, slashes: bool) -> Answer | None:
    path, raw = scope["path"], scope.get("raw_path") or b""
    if len(raw) + len(scope.get("query_string", b"")) > MAX_TARGET:
        return 414, "AddressTooLong", f"an address may have {MAX_TARGET} bytes, its query included"
    if not path.startswith("/"):
        return 400, "BadPath", "the request does not name a path of this server; it is no proxy for others"
    if "//" in path or any(part in {".", ".."} for part in path.split("/")):
        return 400, "BadPath", "a path has no empty parts and neither `.` nor `..`"
    if UNPRINTABLE.search(path) or (not slashes and ENCODED_SLASH.search(raw)):
        return 400, "BadPath", "a path has no control characters, no backslash and no encoded slash"
    return None


def _measure(scope: Scope) -> Answer | None:
    fields = scope["headers"]
    if len(fields) > MAX_FIELDS or sum(len(name) + len(value) for name, value in fields) > MAX_HEAD:
        message = f"a request may have {MAX_FIELDS} header fields of {MAX_HEAD // 2**10} KiB together"
        return 431, "HeadTooLarge", message
    return None


def _fields(scope: Scope) -> Answer | None:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(lengths) > 1 or not all(LENGTH.fullmatch(value) for value in lengths):
        return 400, "BadLength", "Content-Length is one number"
    if [name for name, _ in scope["headers"]].count(b"host") > 1:
        return 400, "BadHost", "a request names one Host"
    return None
