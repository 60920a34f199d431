"""What the schema can't see: whether the parts of a desired state fit each other.

Names that point nowhere, two things under one name, two workloads on one port. Every check goes on after its first
finding, and says where the other party to a quarrel stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from state.declaration import Declaration
from state.desired import ANY
from state.fields import NAME
from state.problems import MAX_PROBLEMS, Problem, dotted, shown
from state.recipes import Recipe
from state.validation import close
from state.yaml_tree import Node, as_map

SECTIONS = ("models", "services")
FEW, MANY = 3, 16


def check(root: Node, shelf: Node, resolved: Mapping[str, Declaration]) -> list[Problem]:
    """All that does not fit, as far as it is shown: to search for what was meant takes its time.

    Names are looked up in the trees, so that an entry with other faults is checked too.
    """
    checks = (
        _double_names(root),
        _reserved_names(root),
        _unknown_recipes(root, sorted(as_map(shelf))),
        _unknown_sparks(root, sorted(as_map(root.child("sparks")))),
        _aliases(root),
        _ports(root, resolved),
    )
    return [problem for found in checks for problem in islice(found, MAX_PROBLEMS + 1)]


def _workloads(root: Node) -> Iterator[tuple[str, str, Node]]:
    for section in SECTIONS:
        for name, node in as_map(root.child(section)).items():
            yield section, name, node


def _names(workload: Node, field: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The names under a field that holds one or a list; what is no text has been refused by the schema."""
    node = workload.child(field)
    if node is not None and isinstance(node.value, str):
        yield (field,), node.value
    for index, item in enumerate(node.items or [] if node is not None else []):
        if isinstance(item.value, str):
            yield (field, index), item.value


def _double_names(root: Node) -> Iterator[Problem]:
    """A name stands for one workload, be it a model or a service."""
    models, services = root.child("models"), root.child("services")
    if models is None or services is None:
        return
    for name in sorted(as_map(models).keys() & as_map(services).keys()):
        message = f"this name already stands for a model, at {models.keys[name]}"
        yield Problem.at(services.keys[name], dotted(["services", name]), message)


def _reserved_names(root: Node) -> Iterator[Problem]:
    sparks = root.child("sparks")
    if sparks is not None and ANY in as_map(sparks):
        message = f"a Spark can't be called {ANY}: `on: {ANY}` leaves the choice to sparkkeep"
        yield Problem.at(sparks.keys[ANY], dotted(["sparks", ANY]), message)


def _unknown_recipes(root: Node, known: Sequence[str]) -> Iterator[Problem]:
    """Not a list of hundreds: the few that were probably meant, and how many there are."""
    for section, name, node in _workloads(root):
        recipe = node.child("recipe")
        if recipe is None or not isinstance(recipe.value, str) or recipe.value in known:
            continue
        place, path = root.find([section, name, "recipe"])
        said = f"{shown(recipe.value)} is not a known recipe"
        if not known:
            yield Problem.at(place, dotted(path), f"{said}: no recipes are loaded; write it out in place")
            continue
        few = close(recipe.value, known) or known[:FEW]
        more = [f"and {len(known) - len(few)} more"] if len(known) > len(few) else []
        yield Problem.at(place, dotted(path), said, [*few, *more])


def _unknown_sparks(root: Node, known: Sequence[str]) -> Iterator[Problem]:
    for section, name, node in _workloads(root):
        for below, spark in (*_names(node, "on"), *_names(node, "across")):
            if spark in known or not re.fullmatch(NAME, spark) or (spark == ANY and below[0] == "on"):
                continue
            place, path = root.find([section, name, *below])
            few = known if len(known) <= MANY else close(spark, known) or known[:FEW]
            more = [f"and {len(known) - len(few)} more"] if len(known) > len(few) else []
            allowed = [*few, *more] or ["none: `sparks` is empty"]
            yield Problem.at(place, dotted(path), f"{shown(spark)} is not a Spark of this file", allowed)


def _aliases(root: Node) -> Iterator[Problem]:
    """Apps ask by name or alias, so each may mean one workload only."""
    owners: dict[str, list[str | int]] = {name: [section, name] for section, name, _ in _workloads(root)}
    for section, name, node in _workloads(root):
        for below, alias in _names(node, "aliases"):
            path: list[str | int] = [section, name, *below]
            first = owners.setdefault(alias, path)
            if first[:2] != [section, name]:
                message = f"{shown(alias)} already means {dotted(first[:2])}, at {root.find(first)[0]}"
                yield Problem.at(root.find(path)[0], dotted(path), message)


def _ports(root: Node, resolved: Mapping[str, Declaration]) -> Iterator[Problem]:
    """Two workloads can't listen on one port of one Spark. Where `any` leads is not known yet."""
    taken: dict[tuple[str, int, str], Declaration] = {}
    for declaration in resolved.values():
        workload = declaration.workload
        if workload.run == "never":
            continue
        sparks = listening_on(declaration)
        for spark in (s for s in sparks if s != ANY):
            for port, protocol in sorted(set(host_ports(declaration.recipe))):
                other = taken.setdefault((spark, port, protocol), declaration)
                if other is not declaration:
                    yield _clash(root, declaration, other, port, spark)


def listening_on(declaration: Declaration) -> list[str]:
    """The Sparks on which it opens its port. Of a group that is the head; SGLang's other ranks answer there as well."""
    across = declaration.workload.across
    if across is None:
        return declaration.workload.on
    return across if declaration.recipe.engine == "sglang" else across[:1]


def host_ports(recipe: Recipe) -> Iterator[tuple[int, str]]:
    """Ports of the Spark that it opens, each with its protocol."""
    port = recipe.listening_port
    if port is not None and recipe.network == "host":
        yield port, "tcp"
    yield from ((published.host, published.protocol) for published in recipe.ports)


def _clash(root: Node, second: Declaration, first: Declaration, port: int, spark: str) -> Problem:
    place, path = root.find([*second.path, "port"])
    other, _ = root.find([*first.path, "port"])
    message = f"port {port} of {spark} is already taken by {dotted(first.path)}, at {other}; give one of them another"
    return Problem.at(place, dotted([*second.path, *path[2:]]), message)
