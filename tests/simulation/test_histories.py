"""Whatever happens to a fleet, in whatever order: when it is over, everything is as declared, and nothing else was touched."""

from collections import Counter

import pytest

from tests.simulation.faults import ALL
from tests.simulation.histories import tell

CHUNK = 25


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, 500, CHUNK))
def test_histories(first: int) -> None:
    happened = Counter[str]()
    for seed in range(first, first + CHUNK):
        problem, counts = tell(seed)
        assert not problem, f"python -m tests.simulation.histories --seed {seed}\n{problem}"
        happened += counts
    assert sum(happened[name] for name in ALL) > CHUNK * 10  # they were no quiet days


def test_a_history_is_its_seed() -> None:
    assert tell(3) == tell(3)
