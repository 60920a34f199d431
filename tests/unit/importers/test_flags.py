"""Arguments as a flags map, templates, and servers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engines.start import parsed_arguments
from reconciler.importers.accounts import Fate
from reconciler.importers.engines import LLAMACPP, VLLM
from reconciler.importers.flags import parse, value
from reconciler.importers.serving import engine_of, serving
from reconciler.importers.templates import fill


def argv_of(line: str) -> list[str]:
    return line.split()


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_maps = st.dictionaries(
    words, numbers | words | st.booleans() | st.none() | st.lists(words, max_size=2), max_size=3
)


@given(
    words
    | numbers.map(str)
    | json_maps.map(json.dumps)
    | st.sampled_from(["0.70", "1e-5", "007", "-1", "1_000", "{}", "{x}"])
)
def test_a_value_becomes_the_same_argument_again(word: str) -> None:
    argument = list(parsed_arguments({"f": value(word)}))[-1]
    argument = argument.removeprefix("--f=")
    assert argument == word or json.loads(argument) == json.loads(word)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b-c", "d_e"]), st.lists(st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True), max_size=3)
        ),
        max_size=4,
    )
)
def test_long_flags_come_back(pairs: list[tuple[str, list[str]]]) -> None:
    argv = [word for name, values in pairs for word in (f"--{name}", *values)]
    parsed = parse(argv, VLLM)
    assert not parsed.positional
    last = dict(pairs)
    assert {name: list(parsed_arguments({name: found})) for name, found in parsed.flags.items()} == {
        name: [f"--{name}", *values] for name, values in last.items()
    }


def test_short_names_values_and_positionals() -> None:
    argv = (
        "org/m -tp 2 --enable-prefix-caching -cc.mode=NONE -O 3 --seed -1 --x=a=b --cuda-graph-bs 1 2 4 --flag -- rest"
    )
    parsed = parse(argv.split(), VLLM)
    assert parsed.positional == ["org/m", "rest"]
    assert parsed.odd == []
    assert parsed.flags == {
        "tensor-parallel-size": 2,
        "enable-prefix-caching": True,
        "compilation-config.mode": "NONE",
        "optimization-level": 3,
        "seed": -1,
        "x": "a=b",
        "cuda-graph-bs": [1, 2, 4],
        "flag": True,
    }
    assert parse(["--trust-remote-code", "org/m"], VLLM).positional == ["org/m"]


def test_a_flag_given_again_in_any_spelling_counts_once() -> None:
    parsed = parse(argv_of("--max-model-len 1 --max_model_len 2"), VLLM)
    assert parsed.flags == {"max_model_len": 2}
    assert parsed.again == [("max-model-len", 1)]
    assert parse(argv_of("--middleware a --middleware b"), VLLM).odd == ["--middleware"]
    parsed = parse(argv_of("-ot a=CPU --override-tensor b=CPU -ngl 99"), LLAMACPP)
    assert parsed.flags == {"override-tensor": ["a=CPU", "b=CPU"], "n-gpu-layers": 99}


@pytest.mark.parametrize("argv", ["-zz 1", "--a!b", f"--{'a' * 65} 1"])
def test_what_no_map_can_hold_is_odd(argv: str) -> None:
    assert parse(argv.split(), VLLM).odd == [argv.split(maxsplit=1)[0]]


@pytest.mark.parametrize(
    ("template", "values", "text", "missing"),
    [
        ("{a} {b}", {"a": 1, "b": 0.80}, "1 0.8", ()),
        ("{a}", {"a": True}, "True", ()),
        ("{url}", {"url": "http://x:{port}", "port": 1}, "http://x:1", ()),
        ("'{a}' {b}", {"a": '{"k": {"m": 1}}', "b": "c"}, '\'{"k": {"m": 1}}\' c', ()),
        ("'{a}'", {"a": {"k": [1]}}, "'{\"k\":[1]}'", ()),
        ("'{{\"a\": {x}}}' {{y}}", {"x": 1, "y": 2}, "'{\"a\": 1}' {y}", ()),
        ('\'{"a": {"b": 1}}\' {x}', {"x": 1}, '\'{"a": {"b": 1}}\' 1', ()),
        ("{gone} {none}", {"none": None}, "{gone} {none}", ("gone", "none")),
        ("${HOME} {a b}", {}, "${HOME} {a b}", ()),
        ("{loop}", {"loop": "x{loop}"}, "x" * 10 + "{loop}", ("loop",)),
    ],
)
def test_templates(template: str, values: dict[str, object], text: str, missing: tuple[str, ...]) -> None:
    filled = fill(template, values)
    assert (filled.text, filled.missing) == (text, missing)


@pytest.mark.parametrize(
    ("argv", "engine", "rest"),
    [
        ("vllm serve m --a", "vllm", ["m", "--a"]),
        ("/opt/bin/vllm serve m", "vllm", ["m"]),
        ("python3 -m vllm.entrypoints.openai.api_server --model m", "vllm", ["--model", "m"]),
        ("python -m vllm.entrypoints.cli.main serve m", "vllm", ["m"]),
        ("sglang serve --model-path m", "sglang", ["--model-path", "m"]),
        ("python3.12 -m sglang.launch_server --model m", "sglang", ["--model", "m"]),
        ("/app/llama-server -hf a/b", "llamacpp", ["-hf", "a/b"]),
        ("trtllm-serve serve m", "trtllm", ["m"]),
        ("trtllm-serve m", "trtllm", ["m"]),
        ("vllm bench x", "container", ["vllm", "bench", "x"]),
        ("uvicorn a:b", "container", ["uvicorn", "a:b"]),
    ],
)
def test_the_program_says_which_engine_it_is(argv: str, engine: str, rest: list[str]) -> None:
    assert (engine_of(argv.split())[0], list(engine_of(argv.split())[1])) == (engine, rest)


def test_a_vllm_server() -> None:
    argv = "vllm serve org/m --host 0.0.0.0 --port 9000 -tp 2 --revision abc --nnodes 2 --api-key k --served-model-name a b"
    made = serving(argv.split(), nodes=2)
    assert made.fields == {
        "engine": "vllm",
        "model": "org/m",
        "revision": "abc",
        "port": 9000,
        "flags": {"served-model-name": ["a", "b"]},
        "probe": "chat",
    }
    assert made.served_as == ("a", "b")
    assert [(part, fate) for part, fate, _ in made.said] == [
        ("--api-key", Fate.LOST),
        ("--host 0.0.0.0", Fate.CONSUMED),
        ("--nnodes", Fate.CONSUMED),
        ("--tensor-parallel-size 2", Fate.CONSUMED),
    ]


@pytest.mark.parametrize(
    ("flags", "nodes", "kept"),
    [
        ("-tp 1 -pp 1", 1, {}),
        ("-tp 2", 1, {"tensor-parallel-size": 2}),
        ("-tp 2 -pp 1 -dp 1", 2, {}),
        ("-tp 1 -pp 3", 3, {"tensor-parallel-size": 1, "pipeline-parallel-size": 3}),
        ("-pp 1", 2, {"pipeline-parallel-size": 1}),
        ("-tp 4", 2, {"tensor-parallel-size": 4}),
    ],
)
def test_sizes_that_the_sparks_give_anyway_go(flags: str, nodes: int, kept: dict[str, int]) -> None:
    made = serving(["vllm", "serve", "org/m", *flags.split()], nodes=nodes)
    assert made.fields.get("flags", {}) == kept


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("llama-server -hf org/m:Q4_K_M -c 4096", {"model": "org/m", "quant": "Q4_K_M", "flags": {"ctx-size": 4096}}),
        ("llama-server -hf org/m -hff a.gguf", {"model": "org/m", "file": "a.gguf"}),
        ("sglang serve --model-path org/m --tp 2", {"model": "org/m", "flags": {"tp-size": 2}}),
        ("trtllm-serve org/m --max_batch_size 4", {"model": "org/m", "flags": {"max_batch_size": 4}}),
        ("vllm serve org/m --distributed-executor-backend ray", {"model": "org/m", "distributed": "ray"}),
    ],
)
def test_other_servers(argv: str, expected: dict[str, object]) -> None:
    made = serving(argv.split())
    assert {key: made.fields[key] for key in made.fields if key not in {"engine", "probe"}} == expected
    assert made.fields["probe"] == "chat"


@pytest.mark.parametrize(
    ("flags", "probe"), [("--embeddings", "embedding"), ("--rerank", "rerank"), ("--jinja", "chat")]
)
def test_the_question_to_ask_comes_from_the_flags(flags: str, probe: str) -> None:
    assert serving(["llama-server", "-hf", "org/m", flags]).fields["probe"] == probe


def test_a_pooling_model_is_not_guessed_at() -> None:
    made = serving(argv_of("vllm serve org/m --runner pooling"))
    assert "probe" not in made.fields
    assert made.said == [("--runner", Fate.CARRIED, "flags; say `probe: embedding` or `probe: rerank` if it is one")]


def test_a_folder_of_the_cache_is_its_model_and_revision() -> None:
    folder = "/cache/huggingface/hub/models--my-org--Some-Model-8B/snapshots/0123456789abcdef"
    made = serving(["vllm", "serve", folder])
    assert (made.fields["engine"], made.fields["model"], made.fields["revision"]) == (
        "vllm",
        "my-org/Some-Model-8B",
        "0123456789abcdef",
    )
    assert serving(["vllm", "serve", folder.replace("snapshots", "blobs")]).engine == "container"


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ("vllm serve /models/x --port 1", "/models/x is not a repository such as owner/name"),
        ("vllm serve a/b c/d", "it names 2 models: a/b, c/d"),
        ("vllm serve --port 1", "it names no model"),
        ("vllm serve a/b -zz 1", "-zz is something that a map of flags can't hold"),
        ("vllm serve a/b --port x", "--port x is not a port"),
        (
            "vllm serve a/b --distributed-executor-backend uni",
            "--distributed-executor-backend uni is neither ray nor mp",
        ),
        ("llama-server -m /x.gguf", "its model is a file, not a repository"),
        ("llama-server -hf a/b c", "c stands without a flag"),
    ],
)
def test_what_an_engine_can_not_say_stays_an_argv(argv: str, why: str) -> None:
    made = serving(argv.split())
    assert made.engine == "container"
    assert made.fields["command"] == argv.split()
    assert made.fields["entrypoint"] == []
    assert made.said == [
        ("command", Fate.CARRIED, f"engine: container with its argv whole, since {why}; memory is not estimated")
    ]


def test_a_key_given_twice_is_not_shown() -> None:
    made = serving(["vllm", "serve", "a/b", "--api-key", "secret1", "--api-key", "secret2"])
    assert "secret1" not in str(made)
    assert "secret2" not in str(made)


def test_a_key_is_in_no_argv() -> None:
    made = serving(argv_of("vllm serve /m --api-key=secret1 --api-key secret2 --port 1"))
    assert made.fields["command"] == ["vllm", "serve", "/m", "--port", "1"]
    assert "secret" not in str(made.fields["command"])
    assert [fate for part, fate, _ in made.said if part == "--api-key"] == [Fate.LOST, Fate.LOST]
