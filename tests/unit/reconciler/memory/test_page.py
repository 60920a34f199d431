"""docs/MEMORY.md says what the code reckons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.memory import engines
from reconciler.memory.admission import Holder, Room, admit
from reconciler.memory.estimate import FAR_BELOW, SPARK, Need, Source, estimate, settle
from reconciler.memory.files import ModelFiles
from reconciler.memory.options import DEFAULTS
from reconciler.place import gib
from state.desired import Settings
from tests.unit.reconciler.memory import models

PAGE = (Path(__file__).parents[4] / "docs" / "MEMORY.md").read_text(encoding="utf-8")
GIB = 2**30


@pytest.mark.parametrize(
    ("model", "flags", "group"),
    [
        (models.QWEN3_CODER_NEXT_INT4, {"gpu-memory-utilization": 0.7, "kv-cache-dtype": "fp8"}, 1),
        (models.LLAMA_70B, {"gpu-memory-utilization": 0.85}, 2),
    ],
)
def test_the_examples(model: ModelFiles, flags: dict[str, Any], group: int):
    found = estimate("vllm", flags, model, group=group)
    assert "```text\n" + "\n".join(found.lines) + "\n```" in PAGE


def test_the_refusal():
    holder = Holder(workload="llama-70b", memory=48 * GIB, run="on-demand", idle=True)
    room = Room(spark="spark-1", total=SPARK, available=round(61.3 * GIB), reserve=4 * GIB, holders=(holder,))
    assert admit("qwen3-coder", Need(size=92 * GIB, source=Source.STATED), room).message in PAGE


@pytest.mark.parametrize(
    "row",
    [
        f"| CUDA context and workspaces | {gib(engines.CUDA)} |",
        f"| CUDA graphs (none with `enforce-eager`) | {gib(engines.GRAPHS)} |",
        f"| encoder of images or sound, if it has one | {gib(engines.SENSES)} |",
        f"| vLLM's measuring run, beyond its share | {gib(engines.PROFILING)} |",
        f"| the engine's own processes, beyond its share | {gib(engines.PROCESSES)} |",
        f"| 16-bit mixture of experts, beyond vLLM's share | {engines.EXPERTS_BEYOND} of the weights ",
        f"under {FAR_BELOW * 100:.0f} % of the estimate",
        f"`gpu-memory-utilization` ({DEFAULTS['vllm'][2]} if left out)",
        f"`free_gpu_memory_fraction` ({DEFAULTS['trtllm'][2]} if left out)",
        f"`reserve` ({Settings().reserve // GIB} GiB unless you say otherwise)",
    ],
)
def test_the_constants(row: str):
    assert row in PAGE


def test_the_accident():
    guess = estimate("vllm", {"gpu-memory-utilization": 0.7}, models.GEMMA4_26B, total=119 * GIB)
    room = Room(spark="s", total=119 * GIB, available=115 * GIB, reserve=4 * GIB)
    verdict = admit("gemma", settle(guess), room)
    assert f"refused: {gib(guess.peak or 0)} needed, {gib(verdict.missing)} are missing" in PAGE
