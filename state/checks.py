"""What the schema can't see: whether the parts of a desired state fit each other.

Names that point nowhere, two things under one name, two workloads on one port. Every check goes on after its first
finding, and says where the other party to a quarrel stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from state.declaration import Declaration
from state.desired import ANY, Workload
from state.problems import Problem, dotted, shown
from state.recipes import Recipe
from state.validation import close
from state.yaml_tree import Node, as_map

KINDS = {"models": "model", "services": "service"}


def check(
    root: Node, workloads: Mapping[tuple[str, str], Workload], resolved: Mapping[str, Declaration]
) -> list[Problem]:
    """All that does not fit. `workloads` are by section and name; `resolved` holds those whose recipe is known."""
    return [
        *_double_names(root),
        *_reserved_names(root),
        *_unknown_sparks(root, workloads),
        *_aliases(root, workloads),
        *_ports(root, resolved),
    ]


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


def _unknown_sparks(root: Node, workloads: Mapping[tuple[str, str], Workload]) -> Iterator[Problem]:
    known = sorted(as_map(root.child("sparks")))
    for (section, name), workload in workloads.items():
        named = [("on", workload.on if workload.on != [ANY] else []), ("across", workload.across or [])]
        for field, sparks in named:
            for index, spark in enumerate(sparks):
                if spark not in known:
                    place, path = root.find([section, name, field, index])
                    meant = close(spark, known, most=1)
                    hint = f"; did you mean {meant[0]}?" if meant else ""
                    message = f"{shown(spark)} is not a Spark of this file{hint}"
                    yield Problem.at(place, dotted(path), message, known or ("none: `sparks` is empty",))


def _aliases(root: Node, workloads: Mapping[tuple[str, str], Workload]) -> Iterator[Problem]:
    """Apps ask by name or alias, so each may mean one workload only."""
    owners = {name: (section, name) for section, name in workloads}
    paths: dict[str, list[str | int]] = {name: list(owner) for name, owner in owners.items()}
    for owner, workload in workloads.items():
        for index, alias in enumerate(workload.aliases):
            path: list[str | int] = [*owner, "aliases", index]
            if owners.setdefault(alias, owner) != owner:
                other, _ = root.find(paths[alias])
                message = f"{shown(alias)} already means {'.'.join(owners[alias])}, at {other}"
                yield Problem.at(root.find(path)[0], dotted(path), message)
            paths.setdefault(alias, path)


def _ports(root: Node, resolved: Mapping[str, Declaration]) -> Iterator[Problem]:
    """Two workloads can't listen on one port of one Spark. Where `any` leads is not known yet."""
    taken: dict[tuple[str, int, str], Declaration] = {}
    for declaration in resolved.values():
        workload = declaration.workload
        if workload.run == "never":
            continue
        # The head of a group serves; its other ranks open no port of their own.
        sparks = workload.across[:1] if workload.across else workload.on
        for spark in (s for s in sparks if s != ANY):
            for port, protocol in sorted(set(_host_ports(declaration.recipe))):
                other = taken.setdefault((spark, port, protocol), declaration)
                if other is not declaration:
                    yield _clash(root, declaration, other, port, spark)


def _host_ports(recipe: Recipe) -> Iterator[tuple[int, str]]:
    if recipe.port is not None and recipe.network == "host":
        yield recipe.port, "tcp"
    yield from ((published.host, published.protocol) for published in recipe.ports)


def _clash(root: Node, second: Declaration, first: Declaration, port: int, spark: str) -> Problem:
    place, path = root.find([*second.path, "port"])
    other, _ = root.find([*first.path, "port"])
    message = f"port {port} of {spark} is already taken by {dotted(first.path)}, at {other}; give one of them another"
    return Problem.at(place, dotted([*second.path, *path[2:]]), message)
