"""What is wrong with a recipe's flags, in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.preflight.check import Finding, check
from reconciler.preflight.tables import SHIPPED, Flag, Table, from_json, shipped, to_json


def table(*flags: Flag, engine: str = "vllm") -> Table:
    return Table(engine, "", "the image's own --help", {flag.name: flag for flag in flags})


IMAGE = table(
    Flag(name="max-model-len", kind="value"),
    Flag(name="speculative-config", kind="value", short=("sc",)),
    Flag(name="tensor-parallel-size", kind="value", short=("tp",)),
    Flag(name="enable-prefix-caching", kind="switch", negatable=True),
    Flag(name="mxfp4-backend", kind="value", choices=("CUTLASS", "MARLIN")),
    Flag(name="gpu-memory-utilization", kind="value", also=("device-memory-utilization",)),
    Flag(name="lora-modules", kind="list"),
)


def said(engine: str, flags: dict[str, Any], image: Table | None = None) -> list[tuple[str, bool]]:
    return [(finding.message, finding.certain) for finding in check(engine, flags, image, shipped(engine))]


GOOD: dict[str, dict[str, Any]] = {
    "vllm": {
        "gpu-memory-utilization": 0.7,
        "max_model_len": "64k",
        "enable-prefix-caching": True,
        "speculative-config": {"method": "mtp", "num_speculative_tokens": 2},
        "compilation-config": '{"cudagraph_mode":"FULL_AND_PIECEWISE"}',
        "compilation-config.mode": 3,
        "served-model-name": ["a", "b"],
        "kv-cache-dtype": "FP8",
        "moe-backend": "flashinfer-cutlass",
        "tool-call-parser": "mine",
        "tool-parser-plugin": "/mine.py",
        "no-enable-log-requests": True,
        "max-num-seqs": None,
        "not-of-this-version": False,
        "block-size": 128,
    },
    "sglang": {
        "mem-fraction-static": 0.75,
        "tensor-parallel-size": 1,
        "cuda-graph-bs-decode": [1, 2, 4],
        "trust-remote-code": True,
    },
    "trtllm": {"max_batch_size": 64, "tp_size": 2, "trust_remote_code": True, "backend": "pytorch"},
    "llamacpp": {"lora": ["a.gguf", "b.gguf"], "ctx_size": 0, "flash-attn": "on", "no-mmap": True},
    "nim": {"anything": "goes"},
}


@pytest.mark.parametrize("engine", GOOD)
def test_nothing_is_said_against_good_flags(engine: str) -> None:
    assert check(engine, GOOD[engine], None, shipped(engine)) == ()


DOUBT = " The image may be another version, or a build of its own"

WORDS: list[tuple[str, dict[str, Any], str]] = [
    (
        "vllm",
        {"max-modal-len": 1},
        "`max-modal-len`: vLLM 0.32.0 knows no such flag; did you mean `max-model-len`?" + DOUBT,
    ),
    (
        "vllm",
        {"mxfp4-layers": "moe"},
        "`mxfp4-layers`: vLLM 0.32.0 knows no such flag." + DOUBT,
    ),
    ("vllm", {"tp": 2}, "`tp`: vLLM 0.32.0 knows it with one dash only; write `tensor-parallel-size`"),
    ("vllm", {"max-model": 9}, "`max-model` is short for `max-model-len`: write it in full"),
    ("vllm", {"max-num-seqs": "many"}, "`max-num-seqs`: needs a whole number, not many"),
    (
        "vllm",
        {"max-model-len": "64 k"},
        "`max-model-len`: needs a whole number (such as 65536 or 64k) or auto, not 64 k",
    ),
    ("vllm", {"max-num-seqs": {"a": 1}}, "`max-num-seqs`: needs a whole number, not a map"),
    ("vllm", {"max-num-seqs": True}, "`max-num-seqs`: needs a value"),
    ("vllm", {"max-num-seqs": [1, 2]}, "`max-num-seqs`: takes one value, not a list"),
    ("vllm", {"gpu-memory-utilization": "half"}, "`gpu-memory-utilization`: needs a number, not half"),
    ("vllm", {"enable-prefix-caching": "yes"}, "`enable-prefix-caching`: takes no value: write true, not yes"),
    ("vllm", {"no-enable-prefix-caching": 1}, "`no-enable-prefix-caching`: takes no value: write true, not 1"),
    (
        "vllm",
        {"enable-prefix-caching": False},
        "`enable-prefix-caching: false` only leaves the flag out; `no-enable-prefix-caching: true` switches it off",
    ),
    (
        "vllm",
        {"speculative-config": "{'method': 'mtp'}"},
        (
            "`speculative-config`: needs JSON, best written as a map; {'method': 'mtp'} is none "
            "(Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"
        ),
    ),
    ("vllm", {"speculative-config": 3}, "`speculative-config`: needs a map (a JSON object), not 3"),
    ("vllm", {"allowed-origins": ["*"]}, "`allowed-origins`: takes one value: write it as text, '[\"*\"]'"),
    (
        "vllm",
        {"performance-mode": "thruput"},
        (
            "`performance-mode`: thruput is not allowed; did you mean throughput? "
            "Allowed: balanced, interactivity, throughput (vLLM 0.32.0)"
        ),
    ),
    ("sglang", {"mem_fraction_static": 0.7}, "`mem_fraction_static`: SGLang 0.5.23 spells it `mem-fraction-static`"),
    ("trtllm", {"max-batch-size": 4}, "`max-batch-size`: TensorRT-LLM 00209af spells it `max_batch_size`"),
    ("llamacpp", {"ngl": 99}, "`ngl`: llama.cpp b10434 knows it with one dash only; write `gpu-layers`"),
    ("llamacpp", {"flash-attn": True}, '`flash-attn`: needs a word; in YAML, "on" and "off" need their quotes'),
]


@pytest.mark.parametrize(("engine", "flags", "words"), WORDS)
def test_a_shipped_table_warns(engine: str, flags: dict[str, Any], words: str) -> None:
    assert said(engine, flags) == [(words, False)]


@pytest.mark.parametrize(
    ("engine", "flags", "words"),
    [
        (
            "vllm",
            {"gpu-memory-utilization": 9},
            "`gpu-memory-utilization`: 9 is outside 0..1 (a share of the memory)",
        ),
        ("sglang", {"mem-fraction-static": 0}, "`mem-fraction-static`: 0 is outside 0..1 (a share of the memory)"),
        ("vllm", {"revision": "main"}, "`revision` is set by sparkkeep; write `revision:`"),
        (
            "vllm",
            {"node_rank": 1},
            "`node_rank` is set by sparkkeep; comes from `across`",
        ),
        (
            "vllm",
            {"max-num-seqs": 1, "max_num_seqs": 2},
            "`max_num_seqs` and `max-num-seqs` are the same flag: keep one",
        ),
    ],
)
def test_what_is_always_wrong_is_certain(engine: str, flags: dict[str, Any], words: str) -> None:
    assert said(engine, flags) == [(words, True)]


def test_one_flag_under_an_alias_and_under_its_negation() -> None:
    twice = {"gpu-memory-utilization": 0.5, "device-memory-utilization": 0.6}
    words = "`device-memory-utilization` and `gpu-memory-utilization` are the same flag: keep one"
    assert said("vllm", twice) == [(words, False)]
    assert said("vllm", twice, IMAGE) == [(words, True)]
    both = {"enable-prefix-caching": True, "no-enable-prefix-caching": True}
    assert [flag.flag for flag in check("vllm", both, None, shipped("vllm"))] == ["no-enable-prefix-caching"]


def test_the_image_knows_its_own_flags_and_is_certain() -> None:
    special = {"mxfp4-backend": "CUTLASS", "max-model-len": 4096, "lora-modules": ["a=b"]}
    assert said("vllm", special, IMAGE) == []
    assert said("vllm", {"mxfp4-backend": "TRITON"}, IMAGE) == [
        ("`mxfp4-backend`: TRITON is not allowed. Allowed: CUTLASS, MARLIN", True)
    ]
    assert said("vllm", {"max-modal-len": 4096}, IMAGE) == [
        ("`max-modal-len`: the image's vLLM knows no such flag; did you mean `max-model-len`?", True)
    ]
    assert said("vllm", {"performance-mode": "throughput"}, IMAGE) == [
        ("`performance-mode`: the image's vLLM knows no such flag", True)
    ]


def test_mods_may_change_what_the_image_says() -> None:
    (finding,) = check("vllm", {"max-modal-len": 4096}, IMAGE, shipped("vllm"), patched=True)
    assert not finding.certain
    (finding,) = check("vllm", {"gpu-memory-utilization": 1.5}, IMAGE, shipped("vllm"), patched=True)
    assert finding.certain


def test_types_come_from_the_shipped_table_where_the_image_shows_none() -> None:
    assert said("vllm", {"max-model-len": "long"}, IMAGE) == [
        ("`max-model-len`: needs a whole number (such as 65536 or 64k) or auto, not long", False)
    ]
    assert said("vllm", {"tensor-parallel-size": True}, IMAGE)[0] == ("`tensor-parallel-size`: needs a value", True)


@pytest.mark.parametrize("engine", SHIPPED)
def test_the_shipped_tables(engine: str) -> None:
    found = shipped(engine)
    assert found is not None
    assert found.engine == engine
    assert found.version
    assert found.origin
    assert from_json(to_json(found)) == found
    assert all(flag.name == name and found.find(name) is flag for name, flag in found.flags.items())


def test_what_the_shipped_tables_hold() -> None:
    counts = {engine: len(found.flags) for engine in SHIPPED if (found := shipped(engine)) is not None}
    assert counts == {"vllm": 317, "sglang": 532, "trtllm": 32, "llamacpp": 248}
    vllm = shipped("vllm")
    assert vllm is not None
    assert vllm.flags["max-num-seqs"] == Flag(name="max-num-seqs", kind="integer")
    assert vllm.flags["speculative-config"] == Flag(name="speculative-config", kind="json", short=("sc",))
    assert {"hermes", "openai", "qwen3_coder", "minimax_m2"} <= set(vllm.flags["tool-call-parser"].choices)


@pytest.mark.parametrize("engine", ["nim", "container"])
def test_other_engines_have_no_table(engine: str) -> None:
    assert shipped(engine) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(SHIPPED),
    st.dictionaries(
        st.sampled_from(["max-model-len", "max_model_len", "tp", "a", "port", "no-jinja"])
        | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        JSON,
        max_size=6,
    ),
    st.booleans(),
)
def test_any_flags_can_be_checked_and_only_what_is_there_is_blamed(
    engine: str, flags: dict[str, Any], asked: bool
) -> None:
    findings = check(engine, flags, shipped(engine) if asked else None, shipped(engine))
    assert {finding.flag for finding in findings} <= set(flags)
    assert findings == check(engine, dict(flags), shipped(engine) if asked else None, shipped(engine))
    assert all(isinstance(finding, Finding) and finding.flag in finding.message for finding in findings)
