"""Recorded streams, cut at every byte, with every way of spoiling a placeholder.

Here a sample. With `SPARKKEEP_LONG=1`: 200 streams of each kind, each cut in two at every byte, the manglings going round; and
each of them with every mangling, cut at random and byte by byte.
"""

import itertools
import os
import random

import pytest

from api.proxies.redaction.streams import RestoringStream
from tests.unit.api.proxies.redaction.given import MANGLINGS
from tests.unit.api.proxies.redaction.recorded import KINDS, heard, known, recorded

LONG = "SPARKKEEP_LONG" in os.environ
STREAMS = 200 if LONG else 2
NAMES = list(MANGLINGS)


def fed(found, cuts):
    stream = RestoringStream(found.dialect, known())
    edges = [0, *cuts, len(found.data)]
    return b"".join(stream.feed(found.data[a:b]) for a, b in itertools.pairwise(edges)) + stream.end()


@pytest.mark.timeout(3 * 3600 if LONG else 60)
@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_every_byte(kind):
    for seed in range(STREAMS):
        found = recorded(kind, seed, NAMES[seed % len(NAMES)])
        wanted = fed(found, [])
        assert heard(kind, wanted) == found.wanted, seed
        for block in found.untouched:
            assert block in wanted
        for cut in range(0 if LONG else 5 * seed, len(found.data), 1 if LONG else 61):
            assert fed(found, [cut]) == wanted, (seed, cut)


@pytest.mark.timeout(3 * 3600 if LONG else 60)
@pytest.mark.parametrize("kind", KINDS)
def test_every_mangling(kind):
    dice = random.Random(kind)
    for seed in range(STREAMS if LONG else 1):
        for mangling in NAMES:
            found = recorded(kind, seed, mangling)
            wanted = fed(found, [])
            assert heard(kind, wanted) == found.wanted, (seed, mangling)
            assert fed(found, range(1, len(found.data))) == wanted, (seed, mangling)
            for _ in range(20 if LONG else 2):
                cuts = sorted(dice.randrange(len(found.data)) for _ in range(dice.randint(1, 30)))
                assert fed(found, cuts) == wanted, (seed, mangling, cuts)
