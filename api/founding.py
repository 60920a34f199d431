"""The first desired.yaml: the Sparks, and what runs there already, as a person would have written it. Pure.

Nothing that runs is taken over by it. What looks like a model or a service is declared with `run: never`, so that the
first `serve` changes nothing on any Spark; handing it over is two commands, which stand above it. The rest is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import indent
from typing import Any, Final

from api.doctor import Examined
from api.yaml_text import yaml_text
from reconciler.doctor.finding import Verdict
from reconciler.doctor.gpu import name_of as gpu_of
from reconciler.doctor.neighbours import managed
from reconciler.doctor.network import OWNER, containers, labels_of, name_of, runs
from reconciler.importers.accounts import Fate, Imported
from reconciler.importers.inspected import read_inspected
from state.load import load_sources
from state.problems import Invalid
from state.sources import Source
from state.yaml_read import MAX_BYTES

Json = dict[str, Any]
HEAD: Final = """\
# What should run where. sparkkeep makes it so, and keeps it so.
# `sparkkeep init` has written this once, from what it found. It is yours now: edit, save, and it takes effect.
#   sparkkeep validate             is it right?
#   sparkkeep plan                 what would be done, and why (of a server that runs)
# docs/DESIRED.md has every field.
apiVersion: sparkkeep/v1
"""
EXAMPLE: Final = """\
# A model: one of the recipes that ship with sparkkeep, or one written out (docs/RECIPES.md).
#models:
#  qwen3-8b:
#    recipe: qwen3-8b
#    on: {spark}
#    aliases: [gpt-4o-mini]    # further names that apps may use
"""
MOST: Final = 200  # containers of one Spark
CONTROL: Final = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A container that runs and is not ours. `imported` is empty for one that is only named; `why` then says why."""

    spark: str
    container: str
    imported: Imported | None = None
    why: str = ""
    lost: tuple[str, ...] = ()


def ours(examined: Examined, owner: str) -> list[str]:
    """The containers that a sparkkeep with this owner keeps there, whether they run or not."""
    return sorted(name_of(each) for each in containers(examined.case) or [] if labels_of(each).get(OWNER) == owner)


def strangers(examined: Examined) -> list[Json]:
    """The containers that run there and that no sparkkeep has started."""
    found = [each for each in containers(examined.case) or [] if runs(each) and OWNER not in labels_of(each)]
    return sorted(found, key=name_of)[:MOST]


def found_of(spark: str, container: Json, inspected: Sequence[Json]) -> Found:
    """One container, read into a recipe where it is a model or a service. `inspected`: it and its image, masked."""
    name = name_of(container)
    if managed(container):
        return Found(spark=spark, container=name, why="another manager of models started it, and would start it again")
    try:
        outcome = read_inspected(json.dumps(list(inspected)), f"{spark}: {name}")
    except Invalid as invalid:
        return Found(spark=spark, container=name, why=_refused(invalid))
    (imported,) = outcome.imported
    recipe = imported.recipe
    if not (recipe.get("gpus") or recipe.get("port") or recipe.get("ports")):
        return Found(
            spark=spark, container=name, why="it uses no GPU and no port that is known: no model, and no service"
        )
    lost = tuple(f"{each.key}: {each.message}" for each in outcome.notes if each.fate is Fate.LOST)
    workload = {"on": spark, "run": "never"}
    return Found(spark=spark, container=name, imported=replace(imported, workload=workload), lost=lost)


def document(sparks: Sequence[Examined], found: Iterable[Found], owner: str | None, recipes: Sequence[Source]) -> str:
    """The text of desired.yaml, which is valid: what would not be is a comment. Raises Invalid if even that is not."""
    names = Mapping[str, Json]
    declared: names = {each.case.name: _spark(each) for each in sparks}
    settings = {} if owner is None else {"settings": {"owner": owner}}
    usable = [_checked(each, declared, recipes) for each in _named_apart(found, declared)]
    parts = [HEAD, "\n".join(("sparks:", *_sparks(sparks, declared)))]
    for section in ("models", "services"):
        workloads = [each for each in usable if each.imported is not None and each.imported.section == section]
        if workloads:
            parts.append("\n".join((f"{section}:", *(line for each in workloads for line in _workload(each)))))
    if not any(each.imported is not None for each in usable):
        parts.append(EXAMPLE.format(spark=next(iter(declared), "spark-1")).rstrip())
    if named := [each for each in usable if each.imported is None]:
        parts.append("\n".join(_only_named(named)))
    if settings:
        parts.append("# More than one sparkkeep keeps these Sparks: this is ours.\n" + yaml_text(settings))
    text = "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
    load_sources([Source("desired.yaml", text.encode())], recipes)
    return text


def comment(text: str, *, deep: int = 0) -> str:
    """A line of comment: whatever the text holds, it stays one."""
    return f"{' ' * deep}# {' '.join(CONTROL.sub(' ', text).split())[:300]}"


def _spark(examined: Examined) -> Json:
    spark = examined.case.spark
    given = {"host": spark.host, "user": spark.user, "port": spark.port}
    return {key: value for key, value in given.items() if value is not None}


def _sparks(sparks: Sequence[Examined], declared: Mapping[str, Json]) -> Iterator[str]:
    for each in sparks:
        told = [gpu_of(each.case) or "no GPU that answers"]
        told += [
            f.message for f in each.findings if f.check in {"memory", "docker-version"} and f.verdict is Verdict.OK
        ]
        yield comment("; ".join(told), deep=2)
        failing = ", ".join(f.check for f in each.of(Verdict.FAIL))
        if failing:
            yield comment(f"not fit yet: {failing}; `sparkkeep doctor {each.case.name}` says what mends it", deep=2)
        yield indent(yaml_text({each.case.name: declared[each.case.name]}), "  ")


def _named_apart(found: Iterable[Found], sparks: Mapping[str, Json]) -> Iterator[Found]:
    """A name means one workload: a second one gets its Spark's name added, then a number."""
    taken = set(sparks)
    for each in found:
        if each.imported is None:
            yield each
            continue
        name, number = each.imported.name, 2
        if name in taken:
            name = f"{name[: 62 - len(each.spark)]}-{each.spark}"
        while name in taken:
            name, number = f"{each.imported.name[:58]}-{number}", number + 1
        taken.add(name)
        yield replace(each, imported=replace(each.imported, name=name))


def _checked(found: Found, sparks: Mapping[str, Json], recipes: Sequence[Source]) -> Found:
    """The same, or only its name if the schema refuses it."""
    if found.imported is None:
        return found
    text = yaml_text({"sparks": sparks, found.imported.section: {found.imported.name: _declared(found.imported)}})
    try:
        load_sources([Source(found.imported.name, text.encode()[:MAX_BYTES])], recipes)
    except Invalid as invalid:
        return replace(found, imported=None, why=_refused(invalid))
    return found


def _refused(invalid: Invalid) -> str:
    problem = invalid.problems[0]
    return f"it can't be declared as it is: {problem.field}: {problem.message}"


def _declared(imported: Imported) -> Json:
    return {"recipe": imported.recipe, **imported.workload}


def _workload(found: Found) -> Iterator[str]:
    imported = found.imported
    if imported is None:
        return
    yield comment(
        f"Runs on {found.spark} as the container {found.container}, which is left alone. To hand it over:", deep=2
    )
    yield comment(f"on {found.spark}: docker stop {found.container} && docker rm {found.container}", deep=4)
    for secret in sorted(_secrets(imported.recipe)):
        yield comment(f"here: sparkkeep secret set {secret}", deep=4)
    yield comment(f"here: sparkkeep run {imported.name}", deep=4)
    for lost in found.lost:
        yield comment(f"Not carried: {lost}", deep=2)
    text = yaml_text({imported.name: _declared(imported)})
    yield indent(re.sub(r'^  "on": ', "  on: ", text, flags=re.MULTILINE), "  ")  # as everybody writes it


def _secrets(recipe: Json) -> set[str]:
    values = (recipe.get("env") or {}).values()
    return {str(value["secret"]) for value in values if isinstance(value, dict) and "secret" in value}


def _only_named(found: Sequence[Found]) -> Iterator[str]:
    yield comment("What else runs there. sparkkeep counts its memory and ports, and never stops it:")
    for each in found:
        yield comment(f"{each.spark}: {each.container}: {each.why}")
