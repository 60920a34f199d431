"""What excuses an answer, and what is called growth."""

import pytest

from tests.datapath.able import LATE, Able
from tests.datapath.asking import Asked, judged
from tests.datapath.mixed import excused
from tests.datapath.serving import DRAIN, Away
from tests.datapath.soak import Sample, Soak

ONE, TWO = frozenset({"a/1"}), frozenset({"b/2"})
AWAY = [Away(told=100.0, back=104.0)]


def asked(verdict: str, began: float, ended: float, reason: str = "") -> Asked:
    return Asked("m", stream=True, began=began, ended=ended, verdict=verdict, reason=reason)


@pytest.fixture
def able() -> Able:
    """One instance from 10 on, both from 20 to 30, the second alone until 40, then none until 50."""
    found = Able()
    for at, there in ((10.0, ONE), (20.0, ONE | TWO), (30.0, TWO), (40.0, frozenset[str]()), (50.0, ONE)):
        found.note("m", there, at)
    return found


@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [
        (0, 5, True),  # nothing was there yet
        (11, 19, False),
        (15, 25, False),  # one more came
        (25, 31, True),  # one left
        (25, 30 - LATE / 2, True),  # and was not yet seen to
        (25, 30 - 2 * LATE, False),
        (31, 38, False),
        (41, 49, True),
        (45, 60, True),
        (51, 60, False),
    ],
)
def test_only_the_want_of_an_instance_excuses(able: Able, since: float, until: float, wanted: bool) -> None:
    assert able.excused("m", since, until) is wanted
    for verdict in ("refused", "told"):
        assert excused(asked(verdict, since, until), able, []) is wanted
    assert excused(asked("right", since, until), able, [])
    for verdict in ("wrong", "cut", "gone"):
        assert not excused(asked(verdict, since, until), able, [])


@pytest.mark.parametrize(
    ("verdict", "began", "ended", "reason", "wanted"),
    [
        ("gone", 101, 101, "ConnectError", True),
        ("gone", 99, 101, "it was under way", False),
        ("gone", 105, 105, "it is back", False),
        ("refused", 99, 101, "503 Restarting: it waited", True),
        ("refused", 101, 101, "503 Restarting: it came", True),
        ("refused", 101, 101, "503 InsufficientMemory: no", False),
        ("refused", 90, 99, "503 Restarting: of whom?", False),
        ("told", 99, 101, "Restarting", False),
        ("told", 99, 100 + DRAIN, "Restarting", True),
    ],
)
def test_while_sparkkeep_is_away_nobody_need_be_there(
    able: Able, verdict: str, began: float, ended: float, reason: str, wanted: bool
) -> None:
    assert excused(asked(verdict, began, ended, reason), able, AWAY) is wanted


def test_a_stream_that_ends_before_its_first_word_is_refused_and_one_after_it_is_told() -> None:
    error = 'data: {"error": {"code": "BackendBroke", "message": "it went away"}}\n\n'
    word = 'data: {"choices": [{"delta": {"content": "Good "}}]}\n\n'
    wrong = word.replace("Good", "Bad")

    def verdict(said: str) -> str:
        return judged(200, "text/event-stream", said, "Good morning", stream=True)[0]

    assert [verdict(said) for said in (error, word + error, word, wrong + error)] == ["refused", "told", "cut", "wrong"]


@pytest.mark.parametrize(("last", "problems"), [(104.0, 0), (96.0, 0), (106.0, 1)])
def test_memory_that_grows_and_sockets_that_stay_are_problems(last: float, problems: int) -> None:
    def sample(memory: float, sockets: int) -> Sample:
        return Sample(memory=memory, descriptors=20, sockets=sockets, threads=3)

    samples = [*[sample(50, 9)] * 3, *[sample(100, 9)] * 3, *[sample(last, 9)] * 3]
    found = Soak([], 0, sample(40, 5), samples, sample(last, 5), [], [])
    assert len(found.problems()) == problems
    assert len(Soak([], 0, sample(40, 4), samples, sample(last, 5), [], []).problems()) == problems + 1
