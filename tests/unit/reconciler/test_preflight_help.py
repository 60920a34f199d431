"""Help pages, printed by the real printers, read back."""

from __future__ import annotations

import argparse
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.preflight.help_text import FEWEST, read
from reconciler.preflight.tables import Flag, Table
from tests.tools.engine_flags import from_parser

PARTS = st.sampled_from(["max", "model", "len", "kv", "cache-dtype", "no", "x", "enable-prefix-caching", "tp2", "b12x"])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("-".join).filter(lambda name: not name.startswith("no"))
WORDS = st.text(alphabet="abcdefg -,.{}|[]", max_size=60)
CHOICES = st.lists(st.sampled_from(["fp8", "fp8_e4m3", "auto", "q4.1", "x"]), min_size=1, unique=True)
KINDS = st.sampled_from(["switch", "pair", "text", "list", "any", "optional", "choices"])


def parser_of(specs: list[tuple[str, str, list[str], str]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm serve")
    for number in range(FEWEST):
        parser.add_argument(f"--filler{number}")
    group = parser.add_argument_group("ModelConfig", "What -- the --model is, and\n- how it is read.")
    kinds: dict[str, dict[str, Any]] = {
        "switch": {"action": "store_true"},
        "pair": {"action": argparse.BooleanOptionalAction},
        "text": {"type": str},
        "list": {"nargs": "+"},
        "any": {"nargs": "*"},
        "optional": {"nargs": "?"},
    }
    for number, (name, kind, choices, words) in enumerate(specs):
        options = {"choices": choices} if kind == "choices" else dict(kinds[kind])
        names = [f"--{name}", f"--also{number}-{name}"] if number % 3 == 0 else [f"--{name}"]
        if number % 4 == 0:
            names.append(f"-z{number}")
        group.add_argument(*names, **options, help=words.replace("%", "%%") or None)
    return parser


def shape(table: Table | None) -> dict[str, Flag] | None:
    """Without the types, which no page shows."""
    if table is None:
        return None
    untyped = {"text": "value", "integer": "value", "number": "value", "json": "value", "size": "value"}
    return {
        name: Flag(
            name=name,
            kind=untyped.get(flag.kind, flag.kind),  # type: ignore[arg-type]  # the values of `untyped` are kinds
            also=flag.also,
            short=flag.short,
            choices=flag.choices,
            negatable=flag.negatable,
        )
        for name, flag in table.flags.items()
    }


@given(st.lists(st.tuples(NAMES, KINDS, CHOICES, WORDS), min_size=1, max_size=8, unique_by=lambda spec: spec[0]))
def test_what_argparse_prints_is_what_its_parser_takes(specs: list[tuple[str, str, list[str], str]]) -> None:
    parser = parser_of([(name, kind, sorted(choices), words) for name, kind, choices, words in specs])
    assert shape(read("vllm", parser.format_help())) == shape(from_parser("vllm", "", "", parser))


def test_a_page_of_click_as_trtllm_serve_prints_it() -> None:
    @click.command("serve")
    @click.option("--max_batch_size", type=int, default=4, show_default=True)
    @click.option("--free_gpu_memory_fraction", "--kv_cache_free_gpu_memory_fraction", type=float)
    @click.option("--backend", type=click.Choice(["pytorch", "tensorrt", "_autodeploy"]))
    @click.option("--trust_remote_code", is_flag=True, help="Flag for remote code. " * 20)
    @click.option("--shout/--no-shout")
    @click.option("--config", type=str)
    def serve(**_: object) -> None: ...

    for number in range(FEWEST):
        serve = click.option(f"--other{number}", type=str)(serve)
    page = serve.get_help(click.Context(serve, max_content_width=120))
    table = read("trtllm", page)
    assert table is not None
    assert table.flags["max_batch_size"].kind == "integer"
    assert table.flags["free_gpu_memory_fraction"] == Flag(
        name="free_gpu_memory_fraction", kind="number", also=("kv_cache_free_gpu_memory_fraction",)
    )
    assert table.flags["backend"].choices == ("pytorch", "tensorrt", "_autodeploy")
    assert table.flags["trust_remote_code"].kind == "switch"
    assert table.flags["shout"] == Flag(name="shout", kind="switch", negatable=True)
    assert table.flags["config"].kind == "value"
    assert len(table.flags) == FEWEST + 7


LLAMA = """\
----- common params -----

-t,    --threads N                      number of threads (default: -1)
                                        (env: A_VARIABLE)
-fa,   --flash-attn [on|off|auto]       set it ('on', 'off', or 'auto', default: 'auto')
--cpu-strict <0|1>                      strict placement (default: 0)
--perf, --no-perf                       timings --or none
-kvo,  --kv-offload, -nkvo, --no-kv-offload
                                        whether to offload
-ngl,  --gpu-layers, --n-gpu-layers N   max. number of layers
--rope-scaling {none,linear,yarn}       a method
--no-host                               bypass
--control-vector-layer-range START END
                                        two numbers
-ot,   --override-tensor <tensor name pattern>=<buffer type>,...
                                        a tensor
"""


def test_a_page_of_llama_server() -> None:
    page = LLAMA + "".join(f"--other{number} N                  {'':6}something\n" for number in range(FEWEST))
    table = read("llamacpp", page)
    assert table is not None
    flags = {name: flag for name, flag in table.flags.items() if not name.startswith("other")}
    assert flags == {
        flag.name: flag
        for flag in (
            Flag(name="threads", kind="value", short=("t",)),
            Flag(name="flash-attn", kind="value", short=("fa",), choices=("on", "off", "auto")),
            Flag(name="cpu-strict", kind="value", choices=("0", "1")),
            Flag(name="perf", kind="switch", negatable=True),
            Flag(name="kv-offload", kind="switch", short=("kvo", "nkvo"), negatable=True),
            Flag(name="gpu-layers", kind="value", also=("n-gpu-layers",), short=("ngl",)),
            Flag(name="rope-scaling", kind="value", choices=("none", "linear", "yarn")),
            Flag(name="no-host", kind="switch"),
            Flag(name="control-vector-layer-range", kind="list"),
            Flag(name="override-tensor", kind="value", short=("ot",)),
        )
    }


def test_parsers_that_a_plugin_may_add_leave_the_choice_open() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool-call-parser", metavar="{hermes,openai} or name registered in --tool-parser-plugin")
    for number in range(FEWEST):
        parser.add_argument(f"--other{number}")
    table = read("vllm", parser.format_help())
    assert table is not None
    flag = table.flags["tool-call-parser"]
    assert (flag.kind, flag.choices, flag.opened_by) == ("value", ("hermes", "openai"), "tool-parser-plugin")


@pytest.mark.parametrize(
    "page",
    ["", "usage: vllm serve\nerror: unrecognized arguments: --help=all\n", "  --only ONE  flag\n  --or TWO  of them\n"],
)
def test_what_is_no_help_page_is_no_table(page: str) -> None:
    assert read("vllm", page) is None


@given(st.sampled_from(["vllm", "sglang", "trtllm", "llamacpp"]), st.text(max_size=400))
def test_any_text_can_be_read(engine: str, page: str) -> None:
    assert read(engine, page) is None
