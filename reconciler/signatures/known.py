"""What a signature is: a text that Docker or a server is known to print, what it means, and what to do about it.

A failing server says many things before it ends. The first cause it names is the one to tell; what follows
(its engine's end, the end of its workers) only echoes it. So each signature has a weight, and an echo is told
only when nothing better is found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum


class Weight(IntEnum):
    """How much a text says about the root cause; the lower the better."""

    CAUSE = 0  # names the cause
    HINT = 1  # points at it, but is printed by servers that get over it too, or wraps a better text
    ECHO = 2  # follows from a cause that was named before, if it was named at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One known text. `terminal`: trying again without a change can't help."""

    pattern: re.Pattern[str]
    reason: str  # one CamelCase word
    message: str  # a plain sentence, without capital and full stop: it follows "its container exited ...: "
    advice: str  # what to do, as a whole sentence
    terminal: bool
    weight: Weight
    example: str  # the text as it is really printed; the tests hold every pattern to it


def known(
    pattern: str,
    reason: str,
    message: str,
    advice: str,
    *,
    example: str,
    terminal: bool = False,
    weight: Weight = Weight.CAUSE,
) -> Signature:
    """A signature; the pattern is looked for in any case of letters, and does not cross lines by itself."""
    return Signature(
        pattern=re.compile(pattern, re.IGNORECASE | re.MULTILINE),
        reason=reason,
        message=message,
        advice=advice,
        terminal=terminal,
        weight=weight,
        example=example,
    )
