"""docs/EMBEDDINGS.md says what the code does: the table of servers, and the error of one input."""

from __future__ import annotations

import json
import re
from pathlib import Path

from api.proxies.embeddings.asked import SAME, wanted
from api.proxies.embeddings.vectors import Vectors
from api.proxies.embeddings.way import FAMILIES, Way
from state.pooling import ENGINES, IMAGES, TRUNCATING

PAGE = (Path(__file__).parents[5] / "docs" / "EMBEDDINGS.md").read_text()


def test_the_servers() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    rows = rows[1:]  # behind the heads of the columns
    assert [row[0] for row in rows] == list(FAMILIES)
    for server, known, batch, form, truncates, page in rows:
        family = FAMILIES[server]  # type: ignore[index]  # just compared
        assert batch.startswith("any number" if family.batch is None else str(family.batch))
        assert ("2 MB" in batch) is (family.size is not None)
        assert (form == "by itself") is family.exact
        assert (truncates != "no") is (server in TRUNCATING)
        assert f"`{family.page}`" in page
        assert ("`texts`" in page) is (family.style == "tei")
        assert ("texts only" in known) is not family.tokens
        assert (known == "`engine`") is (server in ENGINES)
    for part, server in IMAGES.items():
        assert f"| `{server}` | `{part}` in the image's name" in PAGE


def test_the_kinds_of_prompts() -> None:
    assert all(f"`{word}`" in PAGE for word in SAME)


def test_the_error_of_one_input() -> None:
    shown = next(json.loads(block) for block in re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL))
    job = Vectors(wanted({"model": "m", "input": ["a cat", None, "a dog"]}, Way()), Way(), "m", lenient=True)
    parts = job.first()
    for part in parts:
        job.answered(part, {}, json.dumps({"data": [{"index": 0, "embedding": [1.0]}]}).encode())
    assert json.loads(job.whole())["data"][1] == shown
