"""The detector follows the settings, and looks through no text twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from api.proxies.redaction import detecting
from api.proxies.redaction.detecting import Detecting
from api.proxies.redaction.finds import DetectorBusy, DetectorDown, Find
from state.redaction import Detection
from tests.unit.api.proxies.redaction.parts import Finder


class Pool(Finder):
    closed = False

    async def close(self) -> None:
        self.closed = True


class Settings:
    def __init__(self) -> None:
        self.said = Detection()
        self.pools: list[Pool] = []
        self.wrong: Exception | None = None

    def make(self, said: Detection) -> Pool:
        if self.wrong is not None:
            raise self.wrong
        assert said == self.said
        self.pools.append(Pool())
        return self.pools[-1]


def starts(found: Sequence[Sequence[Find]]) -> list[list[int]]:
    return [[find.start for find in finds] for finds in found]


async def test_a_text_is_looked_through_once() -> None:
    settings = Settings()
    detector = Detecting(lambda: settings.said, settings.make)
    first = await detector.find(["to Anna", "hello", "to Anna"])
    again = await detector.find(["Max Meier", "hello", "to Anna"])
    assert starts(first) == [[3], [], [3]]
    assert starts(again) == [[0], [], [3]]
    assert settings.pools[0].asked == ["to Anna", "hello", "Max Meier"]
    await detector.close()
    assert settings.pools[0].closed


async def test_other_settings_are_another_detector_that_knows_nothing_yet() -> None:
    settings = Settings()
    detector = Detecting(lambda: settings.said, settings.make)
    await detector.find(["to Anna"])
    settings.said = Detection(allow=["Anna"])
    await detector.find(["to Anna"])
    first, second = settings.pools
    assert (first.asked, second.asked) == (["to Anna"], ["to Anna"])
    await asyncio.sleep(0)
    assert first.closed
    assert not second.closed
    await detector.close()


@pytest.mark.parametrize("wrong", [ValueError("not a pattern"), ImportError("pip install it")])
async def test_settings_that_can_not_be_followed_let_nothing_pass(wrong: Exception) -> None:
    settings = Settings()
    detector = Detecting(lambda: settings.said, settings.make)
    await detector.find(["to Anna"])
    settings.said, settings.wrong = Detection(ner=False), wrong
    with pytest.raises(DetectorDown, match=str(wrong)):
        await detector.find(["to Anna"])
    settings.wrong = None
    assert starts(await detector.find(["to Anna"])) == [[3]]
    await detector.close()


async def test_what_failed_is_not_remembered() -> None:
    settings = Settings()
    detector = Detecting(lambda: settings.said, settings.make)
    await detector.find(["hello"])
    settings.pools[0].raises = DetectorBusy(1)
    with pytest.raises(DetectorBusy):
        await detector.find(["to Anna"])
    settings.pools[0].raises = None
    assert starts(await detector.find(["to Anna"])) == [[3]]
    await detector.close()


async def test_no_text_is_kept_and_not_more_than_a_number_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detecting, "REMEMBERED", 3)
    settings = Settings()
    detector = Detecting(lambda: settings.said, settings.make)
    for number in range(10):
        await detector.find([f"to Anna {number}"])
    assert len(detector._known) == 3
    assert "Anna" not in repr(detector._known)
    await detector.close()
