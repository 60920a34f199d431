"""No wrong answer and no stream cut without a word, whatever happens to the fleet; `mixed` does it for longer."""

from pathlib import Path

import pytest

from tests.datapath.grounds import practice
from tests.datapath.mixed import MEMORY, MODELS, story


@pytest.mark.timeout(300)
async def test_apps_are_answered_while_the_fleet_changes_and_sparkkeep_is_restarted(tmp_path: Path) -> None:
    told = await story(practice(tmp_path / "sparks", MEMORY), tmp_path / "sparkkeep", seconds=10, apps=8, seed=1)
    assert told.whole(), f"{told.table().markdown()}\n{told.faults[:5]}\n{told.complaints[:5]}"
    assert {each.model for each in told.asked if each.verdict == "right"} == set(MODELS), told.table().markdown()
    assert {"move", "recreate", "kill", "cut", "restart"} <= set(told.done)
