"""Nothing is left over once nobody asks; `soak` sees for an hour that nothing grows."""

from pathlib import Path

import pytest

from tests.datapath.soak import shown, soak


@pytest.mark.timeout(300)
async def test_no_socket_is_left_over(tmp_path: Path) -> None:
    found = await soak(tmp_path, seconds=8, apps=4, seed=1)
    problems = [each for each in found.problems() if "memory grew" not in each]  # which takes longer to tell
    assert not problems, shown(found, problems)
    assert max(each.sockets for each in found.samples) > found.before.sockets
    assert found.left > 10
