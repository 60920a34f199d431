"""Edits of bytes, as simple as the interface of a write allows."""

from __future__ import annotations

from state.repository_draft import Edit

FLEET = b"""# the fleet of the lab: do not lose this comment
sparks:          # two of them
  one: {host: 192.168.1.11}
models:
  # the good one
  qwen: {run: always}    # since May
services:
  echo: {run: never}
# the end
"""


def add(section: str, line: str) -> Edit:
    """Put a line at the top of a section, which must be there, and must not have it."""

    def edit(data: bytes | None) -> bytes:
        lines = (data or b"").splitlines(keepends=True)
        starts = [number for number, text in enumerate(lines) if text.startswith(section.encode() + b":")]
        if not starts:
            raise ValueError(f"there is no {section}")
        new = f"  {line}\n".encode()
        if new in lines:
            raise ValueError(f"{line} is there already")
        return b"".join([*lines[: starts[0] + 1], new, *lines[starts[0] + 1 :]])

    return edit


def swap(old: str, new: str) -> Edit:
    """Replace a text that must be there once."""

    def edit(data: bytes | None) -> bytes:
        assert data is not None
        assert data.count(old.encode()) == 1, old
        return data.replace(old.encode(), new.encode())

    return edit


def whole(data: bytes | None) -> Edit:
    """The file as given, whatever it was; gone for None."""
    return lambda _: data
