"""Which declared workloads say who speaks: those that are probed as diarizers."""

from __future__ import annotations

from collections.abc import Mapping

from api.proxies.audio.inquiry import Diarizer
from reconciler.canaries import CANARIES
from reconciler.probe import DEFAULT_PATH
from state.declaration import Declaration

KIND = "diarization"


def diarizers(declared: Mapping[str, Declaration]) -> dict[str, Diarizer]:
    """By every name that they go by, whatever their state. Its page is the one that its probe asks."""
    found: dict[str, Diarizer] = {}
    for name, declaration in declared.items():
        probe = declaration.recipe.probe
        if probe is None or probe.kind != KIND:
            continue
        path = CANARIES[KIND].path if probe.path in {"", DEFAULT_PATH} else probe.path
        for called in (*declaration.workload.aliases, name):
            found[called] = Diarizer(name, path)
    return found
