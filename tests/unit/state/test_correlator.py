from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from state.journal_events import BURST, CACHE, COMBINED, REPEAT_WINDOW, SIMILAR, SIMILAR_WINDOW, Correlator
from state.journal_rows import MAX_MESSAGE, Event, Kind


def event(name="w", reason="Failed", message="m", **more):
    return Event(kind=Kind.WORKLOAD, name=name, reason=reason, message=message, **more)


class Log:
    """What a journal would hold: rows by seq."""

    def __init__(self):
        self.correlator = Correlator()
        self.seq = 0
        self.rows = {}

    def say(self, event, now=0.0):
        taken = self.correlator.take(event, seq=self.seq + 1, now=now)
        if taken is None:
            return None
        after, before = taken
        self.seq += 1
        if before is not None:
            self.rows.pop(before.seq)
        self.rows[after.seq] = after
        return after


def test_the_same_again_raises_the_count_and_moves_to_a_new_seq():
    log = Log()
    first = log.say(event(), 1.0)
    log.say(event(name="other"), 2.0)
    again = log.say(event(), 3.0)
    assert (again.id, again.seq, again.count, again.first_at, again.last_at) == (first.id, 3, 2, 1.0, 3.0)
    assert len(log.rows) == 2


def test_every_part_of_the_key_tells_events_apart():
    log = Log()
    for other in (
        event(),
        event(name="x"),
        event(reason="X"),
        event(message="x"),
        event(spark="x"),
        event(source="x"),
        event(type="Warning"),
        Event(kind=Kind.SPARK, name="w", reason="Failed", message="m"),
    ):
        assert log.say(other).count == 1


def test_after_an_hour_the_count_begins_anew():
    log = Log()
    log.say(event(), 0.0)
    assert log.say(event(), REPEAT_WINDOW).count == 2
    fresh = log.say(event(), 2 * REPEAT_WINDOW + 1)
    assert (fresh.count, fresh.id) == (1, fresh.seq)
    assert len(log.rows) == 2


def test_more_than_ten_alike_are_combined():
    log = Log()
    for number in range(SIMILAR + 5):
        log.say(event(message=f"try {number}"), float(number))
    assert len(log.rows) == SIMILAR + 1
    combined = log.rows[log.seq]
    assert combined.count == 5
    assert combined.event.message == f"{COMBINED}try {SIMILAR + 4}"
    assert log.say(event(message="try 0"), 20.0).count == 2


def test_after_ten_quiet_minutes_they_stand_alone_again():
    log = Log()
    for number in range(SIMILAR + 2):
        log.say(event(message=f"try {number}"), 0.0)
    assert not log.say(event(message="new"), SIMILAR_WINDOW + 1).event.message.startswith(COMBINED)


def test_one_object_may_not_drown_the_others():
    log = Log()
    said = [log.say(event(message=str(n % 3)), 0.0) for n in range(40)]
    assert sum(row is not None for row in said) == BURST
    assert log.correlator.suppressed == 15
    assert log.say(event(name="other"), 0.0)
    assert log.say(event(), 299.0) is None
    assert log.say(event(), 301.0)
    assert log.say(event(), 302.0) is None


def test_a_clock_that_steps_back_harms_nothing():
    log = Log()
    log.say(event(), 1000.0)
    again = log.say(event(), 10.0)
    assert (again.count, again.last_at) == (2, 1000.0)


def test_a_combined_message_stays_in_bounds():
    log = Log()
    for number in range(SIMILAR + 2):
        row = log.say(event(message=f"{number}" + "x" * (MAX_MESSAGE - 2)), 0.0)
    assert len(row.event.message) == MAX_MESSAGE


events = st.builds(
    event,
    name=st.sampled_from("ab"),
    reason=st.sampled_from(["R", "S"]),
    message=st.integers(0, 30).map(str),
)


@given(st.lists(st.tuples(events, st.floats(0, 900)), max_size=150))
@settings(max_examples=100, deadline=None)
def test_no_event_is_lost_or_counted_twice(sequence):
    log, now, recorded = Log(), 0.0, Counter()
    for said, pause in sequence:
        now += pause
        if (row := log.say(said, now)) is not None:
            recorded[said.name, said.reason] += 1
            assert row.seq == log.seq
            assert row.id <= row.seq
            assert row.first_at <= row.last_at == now
    assert sum(recorded.values()) + log.correlator.suppressed == len(sequence)
    counted = Counter()
    for row in log.rows.values():
        counted[row.event.name, row.event.reason] += row.count
    assert counted == recorded


def test_memory_is_bounded():
    correlator = Correlator()
    for number in range(CACHE + 100):
        correlator.take(event(name=str(number)), seq=number + 1, now=0.0)
    assert len(correlator._known) == len(correlator._similar) == len(correlator._buckets) == CACHE
