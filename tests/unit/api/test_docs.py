"""The documents name every route and every verb, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from api.app import build
from api.cli import app as cli

DOCS = Path(__file__).resolve().parents[3] / "docs"


def routes() -> set[str]:
    context = cast("Any", SimpleNamespace(practice=object()))
    paths = build(context, version="1").openapi()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def test_every_route_is_documented_with_an_example() -> None:
    text = (DOCS / "API.md").read_text()
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    documented = {section.partition("\n")[0].strip("`"): section for section in sections}
    assert set(documented) - {"GET /"} == routes()
    for name, section in documented.items():
        method, _, path = name.partition(" ")
        curl = next(line for line in section.splitlines() if line.startswith("    curl"))
        asked = re.search(r" -X ([A-Z]+) ", curl)
        assert (asked[1] if asked else "GET") == method, name
        # the address ends where the path does: a query, a quote, a blank or the line follows
        pattern = r"[A-Za-z0-9$._~-]+".join(re.escape(part) for part in re.split(r"\{\w+\}", path))
        assert re.search(rf"\$S{pattern}(?:[?\"' ]|$)", curl), name


def test_every_verb_is_documented() -> None:
    text = (DOCS / "CLI.md").read_text()
    cells = [line.split("|")[1].replace("\\", "") for line in text.splitlines() if re.match(r"\| `[a-z]", line)]
    documented = {word for cell in cells for word in re.findall(r"`([a-z][a-z-]*)", cell)}
    verbs = {command.name or command.callback.__name__ for command in cli.registered_commands if command.callback}
    verbs |= {
        group.name or (group.typer_instance.info.name if group.typer_instance else "")
        for group in cli.registered_groups
    }
    assert documented == verbs
