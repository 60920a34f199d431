"""What holds for every recipe that is accepted, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, example, given, strategies
from pydantic import ValidationError

from reconciler.engines import ENGINES, NotLaunchable, launch
from reconciler.engines.start import flag_text
from reconciler.launch import create
from reconciler.model import Instance
from reconciler.practice.docker_flags import parse
from reconciler.practice.docker_usage import COMMANDS
from reconciler.shell import join, split
from state.engines import NEEDS_MODEL
from state.recipes import Recipe
from tests.unit.reconciler.engines.launched import ALONE, ranks

TEXT = strategies.text(strategies.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
DASHED = TEXT.map(lambda text: f"-{text}")
NASTY = strategies.sampled_from(["--privileged", "--", "-v", "$HOME", "$(id)", "'", '"', "", "\n", "--name=x"])
SCALAR = TEXT | DASHED | NASTY | strategies.integers(-(2**53), 2**53) | strategies.booleans()
LEAF = SCALAR | strategies.none()
INNER = LEAF | strategies.lists(LEAF, max_size=3) | strategies.dictionaries(TEXT, LEAF, max_size=3)
JSON = INNER | strategies.lists(INNER, max_size=3) | strategies.dictionaries(TEXT, INNER, max_size=3)
NAMES = strategies.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
FLAGS = strategies.dictionaries(NAMES | strategies.sampled_from(["port", "host", "config"]), JSON, max_size=5)
ENV = strategies.dictionaries(
    strategies.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True),
    TEXT.filter(lambda text: not {"\n", "\r"} & set(text)) | strategies.just({"secret": "s"}),
    max_size=4,
)
IMAGES = strategies.sampled_from(
    [
        "a/b:1",
        "vllm/vllm-openai:latest",
        "nvcr.io/nvidia/vllm:1",
        "lmsysorg/sglang:1",
        "ghcr.io/ggml-org/llama.cpp:server",
    ]
)


@strategies.composite
def recipes(draw: strategies.DrawFn) -> Recipe:
    """A recipe that the schema accepts."""
    engine = draw(strategies.sampled_from(sorted(ENGINES)))
    fields: dict[str, Any] = {"engine": engine, "image": draw(IMAGES), "flags": draw(FLAGS), "env": draw(ENV)}
    if engine in NEEDS_MODEL:
        fields["model"] = "o/n"
    if engine == "container":
        fields["command"] = draw(strategies.lists(TEXT | DASHED | NASTY, max_size=3))
    if draw(strategies.booleans()):
        fields["entrypoint"] = draw(strategies.lists(TEXT | NASTY, max_size=3))
        fields["mods"] = draw(strategies.sampled_from([[], ["one"], ["one", "mods/two"]]))
    if engine == "vllm":
        fields["distributed"] = draw(strategies.sampled_from([None, "native", "ray"]))
    try:
        return Recipe.model_validate(fields)
    except ValidationError:
        assume(False)
        raise


MODS = {"one": "1" * 32, "mods/two": "2" * 32}
SEATS = strategies.sampled_from([ALONE, *ranks(2)])


@given(recipes(), SEATS)
@example(Recipe.model_validate({"engine": "vllm", "model": "o/n", "image": "a", "flags": {"a": "--rm"}}), ALONE)
def test_a_command_line_gives_its_argv_back_and_docker_reads_nothing_of_it_as_its_own(
    recipe: Recipe, seat: Any
) -> None:
    try:
        made = launch(recipe, seat, MODS)
    except NotLaunchable:
        assume(False)
    instance = Instance(workload="m", kind="model", spark="a", name="sparkkeep-m", spec=made.spec, spec_hash="h")
    argv = create(instance, owner="o", revision="r")
    told = split(join(argv))
    assert told == tuple(str(word) for word in argv)
    parsed = parse(COMMANDS["run"], list(told[2:]))
    assert parsed.arguments == [made.spec.image, *(made.spec.entrypoint or ())[1:], *made.spec.command]
    entrypoint = [] if made.spec.entrypoint is None else [(made.spec.entrypoint or ("",))[0]]
    assert parsed.all("entrypoint") == entrypoint
    assert not {"privileged", "volume", "rm", "security-opt"} & parsed.flags.keys()
    assert parsed.all("name") == ["sparkkeep-m"]


@given(recipes(), SEATS, strategies.randoms(use_true_random=False))
def test_the_order_of_maps_means_nothing(recipe: Recipe, seat: Any, dice: Any) -> None:
    flags, env = list(recipe.flags.items()), list(recipe.env.items())
    dice.shuffle(flags)
    dice.shuffle(env)
    other = recipe.model_copy(update={"flags": dict(flags), "env": dict(env)})
    try:
        made = launch(recipe, seat, MODS)
    except NotLaunchable:
        assume(False)
    assert launch(other, seat, MODS) == made
    assert launch(other, seat, MODS).spec.digest() == made.spec.digest()


@given(
    strategies.sampled_from(sorted(NEEDS_MODEL)),
    NAMES.filter(lambda name: len(name) > 8),
    JSON.filter(lambda value: value not in (None, False, True) and not isinstance(value, list)),
)
def test_a_flags_value_is_one_argument(engine: str, name: str, value: Any) -> None:
    fields = {"engine": engine, "model": "o/n", "image": "a/b:1", "flags": {name: value}}
    try:
        recipe = Recipe.model_validate(fields)
    except ValidationError:
        assume(False)
    with_it = launch(recipe, ALONE).spec.command
    without = launch(recipe.model_copy(update={"flags": {}}), ALONE).spec.command
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert flag_text(value) == text
    joined = engine != "llamacpp" and text.startswith("-")
    added = [f"--{name}={text}"] if joined else [f"--{name}", text]
    assert sorted([*without, *added]) == sorted(with_it)
