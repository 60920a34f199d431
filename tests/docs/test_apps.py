"""The programs in docs/LLM_PROXY.md and docs/AUDIO_API.md run as they stand there, against practice Sparks, with the SDKs that they name."""

from __future__ import annotations

import ast
import importlib.util
import re
from typing import Any

import pytest

from tests.docs.conftest import Stage
from tests.docs.pages import Block, every_block

pytestmark = pytest.mark.xdist_group("docs")

PROGRAMS = [block for block in every_block() if block.language == "python"]
NOT_HERE = {"langchain_openai"}  # too much to install for four lines: these are only read


def imported(block: Block) -> set[str]:
    return {node.module or "" for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_runs(block: Block, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {name for name in imported(block) if importlib.util.find_spec(name) is None}
    assert missing <= NOT_HERE
    code = compile(re.sub(r"http://[0-9.]+:9999", stage.url, block.text), str(block), "exec")
    if missing:
        return
    stage.put_right()
    monkeypatch.chdir(stage.cwd)
    names: dict[str, Any] = {"print": lambda *_: None}
    try:
        exec(code, names)  # noqa: S102  # a document's own words
    finally:
        client = names["client"]
        getattr(client, "close", getattr(client, "_client", client).close)()
