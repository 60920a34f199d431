"""Values that stand nowhere by chance, and where to look for them."""

from __future__ import annotations

import base64
import contextlib
import secrets
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path


def canary(name: str) -> str:
    """A value that stands nowhere by chance; its halves stand nowhere either."""
    return f"c4nary-{name}-{secrets.token_hex(16)}"


class Search:
    """Looks for values, for the halves of them, and for both encoded."""

    def __init__(self, values: Iterable[str]) -> None:
        self._needles = sorted({needle for value in values for needle in forms(value)})

    def found_in(self, what: bytes | str) -> list[str]:
        data = what.encode() if isinstance(what, str) else what
        return [needle for needle in self._needles if needle.encode() in data]


class Argvs(threading.Thread):
    """Looks at the argv and titles of all processes, again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[bytes] = set()
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self.seen.add((process / "cmdline").read_bytes())
                except OSError:
                    continue  # it has ended

    def end(self) -> None:
        self._done.set()
        self.join()


def unpacked(path: Path) -> bytes:
    """A file, and what it unpacks to if it is an object of git's."""
    data = path.read_bytes()
    with contextlib.suppress(zlib.error):
        data += zlib.decompress(data)
    return data


def forms(value: str) -> list[str]:
    """A value as it could stand somewhere: whole, a half of it, or encoded."""
    random = value[-32:]
    encoded = base64.b64encode(value.encode()).decode().rstrip("=")
    return [random[:16], random[16:], encoded[4:-4], random.encode().hex()]
