"""What the schema knows of engines: refusals with a place, and the ports that nobody wrote."""

from __future__ import annotations

import pytest

from state.load import load_text
from state.problems import Invalid
from state.recipes import Recipe

SPARKS = "sparks: {s1: {host: a}, s2: {host: b}}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        load_text(SPARKS + text, "d.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("engine: vllm", "model: engine vllm needs the repository of the model, such as owner/name"),
        ("engine: llamacpp", "model: engine llamacpp needs the repository of the model, such as owner/name"),
        (
            "engine: vllm, model: a/b, command: [x]",
            "command: engine vllm has its command made from model and flags; a command is for engine: container",
        ),
        ("engine: nim, command: [x]", "command: engine nim has its command made from model and flags"),
        ("engine: nim, revision: main", "revision: engine nim can't be told one; leave it out"),
        ("engine: llamacpp, model: a/b, revision: x", "revision: engine llamacpp can't be told one; leave it out"),
        ("engine: sglang, model: a/b, distributed: ray", "distributed: engine vllm alone has a choice"),
        ("engine: vllm, model: a/b, quant: Q4", "quant: belongs to engine llamacpp; this is engine vllm"),
        ("engine: llamacpp, model: a/b, quant: Q4, file: x.gguf", "file: names one file of the repository"),
        ("mods: [a]", "mods: they run before the program, so `entrypoint` must say which program that is"),
        ("engine: nim, mods: [a]", "mods: they run before the program, so `entrypoint` must say"),
        ("engine: vllm, model: a/b, flags: {model: x}", "flags: model is set by sparkkeep; write `model:`"),
        (
            "engine: vllm, model: a/b, flags: {node_rank: 1}",
            "flags: node_rank is set by sparkkeep; comes from `across`",
        ),
        ("engine: nim, flags: {port: 1}", "flags: port is set by sparkkeep; write `port:`"),
        (
            "engine: vllm, model: a/b, flags: {max-model-len: 1, max_model_len: 2}",
            "flags: max-model-len is given twice, in two spellings",
        ),
        ("engine: vllm, model: a/b, flags: {port: 70000}", "flags: port must be a number from 1 to 65535"),
        ("engine: vllm, model: a/b, flags: {port: true}", "flags: port must be a number from 1 to 65535"),
        (
            "engine: vllm, model: a/b, port: 8000, flags: {port: 8001}",
            "port: it is 8000 here and 8001 among the flags; say it once, here",
        ),
    ],
)
def test_what_does_not_fit_the_engine_is_refused_in_words(recipe: str, said: str) -> None:
    (found,) = problems(f"models:\n  m:\n    recipe: {{image: 'x:1', {recipe}}}\n    on: s1\n")
    field, _, sentence = said.partition(": ")
    assert f"models.m.recipe.{field}: {sentence}" in found
    assert found.startswith("d.yaml:4:")


def test_two_spellings_of_which_one_is_left_out_are_no_quarrel() -> None:
    fields = {"engine": "vllm", "model": "a/b", "image": "x:1"}
    flags = {"max_model_len": None, "max-model-len": 5, "headless": False}
    assert Recipe.model_validate({**fields, "flags": flags}).flags == flags


@pytest.mark.parametrize(
    ("fields", "port"),
    [
        ({"engine": "vllm", "model": "a/b"}, 8000),
        ({"engine": "sglang", "model": "a/b"}, 30000),
        ({"engine": "trtllm", "model": "a/b"}, 8000),
        ({"engine": "llamacpp", "model": "a/b"}, 8080),
        ({"engine": "nim"}, 8000),
        ({}, None),
        ({"flags": {"port": 5}}, None),
        ({"engine": "vllm", "model": "a/b", "flags": {"port": 9}}, 9),
        ({"engine": "vllm", "model": "a/b", "flags": {"port": "9"}, "port": 9}, 9),
    ],
)
def test_the_port_that_it_listens_on(fields: dict[str, object], port: int | None) -> None:
    assert Recipe.model_validate({"image": "x:1", **fields}).listening_port == port


def test_ports_that_nobody_wrote_clash_too() -> None:
    (found,) = problems(
        "models:\n"
        "  one: {recipe: {engine: vllm, model: a/b, image: 'x:1'}, on: s1}\n"
        "  two: {recipe: {engine: trtllm, model: a/b, image: 'y:1'}, on: s1}\n"
    )
    assert "models.two" in found
    assert "port 8000 of s1 is already taken by models.one" in found
    other = "  two: {recipe: {engine: trtllm, model: a/b, image: 'y:1'}, on: s2}\n"
    first = "models:\n  one: {recipe: {engine: vllm, model: a/b, image: 'x:1'}, on: s1}\n"
    assert len(load_text(SPARKS + first + other, "d.yaml").resolved) == 2


def test_only_the_head_of_a_group_takes_its_port_but_for_sglang() -> None:
    text = (
        "models:\n"
        "  one: {{recipe: {{engine: {engine}, model: a/b, image: 'x:1', port: 8000}}, across: [s1, s2]}}\n"
        "  two: {{recipe: {{image: 'y:1', port: 8000}}, on: s2}}\n"
    )
    assert len(load_text(SPARKS + text.format(engine="vllm"), "d.yaml").resolved) == 2
    (found,) = problems(text.format(engine="sglang"))
    assert "port 8000 of s2 is already taken by models.one" in found


@pytest.mark.parametrize(
    ("field", "fine", "wrong"),
    [
        ("mods", ["fix-qwen3.5-chat-template", "mods/a"], ["../a", "/a", "a//b", "a/", "-a", "a b", ".a"]),
        ("securityOpt", ["no-new-privileges", "seccomp=unconfined", "label:disable"], ["-x", "a b", "seccomp="]),
        ("file", ["q/x-00001-of-2.gguf"], ["/x", "../x", "a/../x", "-x"]),
        ("quant", ["Q4_K_M", "UD-Q8_0"], ["Q4 K", "-Q", "a:b"]),
    ],
)
def test_new_fields_are_whitelists(field: str, fine: list[str], wrong: list[str]) -> None:
    base = {"engine": "llamacpp", "model": "a/b", "image": "x:1"}
    several = field in {"mods", "securityOpt"}
    for value in fine:
        Recipe.model_validate({**base, field: [value] if several else value})
    for value in wrong:
        with pytest.raises(ValueError, match=field):
            Recipe.model_validate({**base, field: [value] if several else value})
