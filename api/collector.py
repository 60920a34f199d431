"""How Python's garbage collector is set for a process that runs for months.

As it comes, it looks at the youngest objects after every 700 new ones, and now and then at every object there is. A
plan of a thousand workloads makes some ten thousand objects, nearly all of which are gone by themselves a moment later;
and of what is there, most is code and models that stay for good. Looking at those again and again is a pause of
several milliseconds for everybody who waits: a repair, a stream, a page.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000  # new objects between two looks at the youngest; then as Python has it


def settle() -> None:
    """What is there now stays for good, and is not looked at again. Call it once, when all code has been loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
