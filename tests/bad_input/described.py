"""The app's OpenAPI document as schemathesis shall take it: answers closed, and names that exist among the made-up."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

from api.app import build

WORKLOADS = ("echo", "both")
SPARKS = ("spark-1", "spark-2")
REAL: Mapping[tuple[str, str], tuple[Any, ...]] = {  # what (path, parameter) may really be called
    ("/api/workloads/", "name"): WORKLOADS,
    ("/api/sparks/", "name"): SPARKS,
    ("/api/sparks/", "id"): ("grafana", "sparkkeep-echo", "sparkkeep-both"),
    ("/api/weights/", "id"): (1, 2),
    ("/api/", "workload"): WORKLOADS,
    ("/api/", "spark"): SPARKS,
}


def published() -> dict[str, Any]:
    """What the server gives at /api/openapi.json."""
    context = cast("Any", SimpleNamespace(practice=object()))
    return build(context, version="1").openapi()


def described() -> dict[str, Any]:
    document = copy.deepcopy(published())
    for shape in document["components"]["schemas"].values():
        if "properties" in shape:  # a key too many is as wrong as one too few
            shape["additionalProperties"] = False
    for path, operation in _operations(document):
        for parameter in operation.get("parameters", ()):
            _with_real_names(path, parameter)
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            yield path, operation


def _with_real_names(path: str, parameter: dict[str, Any]) -> None:
    for (prefix, name), real in REAL.items():
        if path.startswith(prefix) and parameter["name"] == name:
            parameter["schema"] = {"anyOf": [{"enum": list(real)}, parameter["schema"]]}
            return
