"""Every block of the documents is what it says it is: a desired state that is valid, recipes, a unit of systemd."""

from __future__ import annotations

import configparser
import json
import re
import shlex

import pytest
import yaml

from state.load import load_sources
from state.sources import Source, read_recipes, recipe_files
from tests.docs.pages import COMMANDS, DATA, ROOT, Block, commands, every_block, pages
from tests.docs.programs import OURS, VERBS, kind, unknown_flags

DESIRED = {"apiVersion", "sparks", "models", "services", "settings", "guards"}
NOT_OURS = {"scrape_configs", "groups", "name", "version", "schema", "models"}  # Prometheus', and Continue's
SPARKS = b"sparks: {spark-1: {host: 192.168.1.11}, spark-2: {host: 192.168.1.12}}\n"
BLOCKS = every_block()
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def test_there_is_something_to_test() -> None:
    assert len(BLOCKS) > 60
    assert {block.language for block in BLOCKS} <= COMMANDS | DATA


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in COMMANDS], ids=str)
def test_every_command_is_of_a_kind_that_is_known(block: Block) -> None:
    found = list(commands(block))
    assert found, "no block of commands"
    unknown = [str(command) for command in found if kind(command) == "unknown"]
    assert unknown == [], "misspelt? or name its program in tests/docs/programs.py"


def valid(text: str, recipes: bytes = b"") -> None:
    """As `sparkkeep validate` judges it. Raises state.problems.Invalid."""
    sources = [Source("the document", text.encode())] if text else []
    if "sparks" not in (yaml.safe_load(text) or {} if text else {}):
        sources.append(Source("Sparks", SPARKS))
    more = [Source("the recipes", recipes)] if recipes else []
    load_sources(tuple(sources), [*read_recipes(recipe_files({})), *more])


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=str)
def test_yaml_is_valid(block: Block) -> None:
    keys = set(yaml.safe_load(block.text))
    if keys <= DESIRED:
        valid(block.text)
    elif keys == {"recipes"}:
        valid("", block.text.encode())
    else:
        assert keys <= NOT_OURS, "of what kind is this?"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=str)
def test_json_is_valid(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "ini"], ids=str)
def test_a_unit_of_systemd_starts_what_there_is(block: Block) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    unit.read_string(block.text)
    assert set(unit) - {"DEFAULT"} == {"Unit", "Service", "Install"}
    served(shlex.split(unit["Service"]["ExecStart"]))


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "dockerfile"], ids=str)
def test_an_image_starts_what_there_is(block: Block) -> None:
    lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    said = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert set(said) <= {"FROM", "RUN", "COPY", "WORKDIR", "USER", "ENV", "ENTRYPOINT", "CMD", "VOLUME", "EXPOSE"}
    served([*json.loads(said["ENTRYPOINT"]), *json.loads(said.get("CMD", "[]"))])


def served(argv: list[str]) -> None:
    """`sparkkeep serve` with flags that it has."""
    assert argv[0].rpartition("/")[2] in OURS
    assert argv[1] == "serve"
    assert unknown_flags(argv) == set()
    VERBS["serve"].make_context("serve", argv[2:])


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\]\(.*?\)", "", head)).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: object) -> None:
    path = ROOT / str(page)
    for target, anchor in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_a_flag_in_the_table_of_a_verb_is_one_of_it() -> None:
    """docs/CLI.md: `| verb | what it does; `--flag` |`."""
    seen = 0
    for line in (ROOT / "docs" / "CLI.md").read_text(encoding="utf-8").splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if not re.match(r"\| `[a-z]", line) or len(cells) < 4:
            continue
        verb = " ".join(re.findall(r"[a-z-]+", cells[1].split("`")[1].replace("\\|", "|"))[:2])
        name = verb if verb in VERBS else verb.split(" ")[0]
        if name not in VERBS:
            continue
        flags = re.findall(r"`(--?[a-z-]+)", cells[2])
        seen += len(flags)
        assert unknown_flags(["sparkkeep", *name.split(), *flags]) == set(), line
    assert seen > 10
