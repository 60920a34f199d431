"""A small run: both measurements come to their end and say something."""

import pytest

from tests.bench import saturated
from tests.bench.figures import Table

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(saturated.missing() is not None, reason="its programs are not installed"),
]


def test_repairs_and_streams_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturated, "ROUND", 1.0)
    monkeypatch.setattr(saturated, "CALM", 1.0)
    repairs, gaps = saturated.bench(samples=2, workloads=8, seconds=6.0)
    assert [row[0] for row in repairs.rows] == ["the proxy idle", "the proxy saturated"]
    assert len(gaps.rows) == 3
    assert " 0 requests failed" in told(repairs)
    assert "not even" not in told(gaps)
    assert "NOT ALL" not in told(gaps)


def told(table: Table) -> str:
    return " ".join(table.notes)
