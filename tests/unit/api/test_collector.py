"""The collector as a server sets it: old things are left alone, new garbage still goes."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from api.collector import YOUNG, settle

class Thing: ...

def circle():
    thing = Thing(); thing.itself = thing
    return weakref.ref(thing)

gone_before = circle()
settle()
assert gone_before() is None, "what was garbage already is not kept for good"
there = gc.get_freeze_count()
assert there > 1000 and gc.get_threshold()[0] == YOUNG
gone_later = circle()
kept = [[] for _ in range(YOUNG + 1)]
assert gone_later() is None, "new garbage goes by itself"
assert gc.get_freeze_count() <= there
"""


def test_what_is_there_stays_and_new_garbage_goes() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], check=True)
