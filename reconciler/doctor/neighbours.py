"""Who else manages models there, and which right would help. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from reconciler.doctor.case import Case
from reconciler.doctor.checks import ok, unknown, warn
from reconciler.doctor.finding import Finding
from reconciler.doctor.network import OWNER, containers, labels_of, name_of, runs
from reconciler.launch import DROP_CACHES
from reconciler.shell import join

UNIT: Final = re.compile(r"^(\S+)\.service\s", re.MULTILINE)
NAMES: Final = re.compile(r"^(sparkrun_|vllm_node|spark-vllm-|gpustack|ollama|llama-swap|litellm)")
IMAGES: Final = re.compile(r"(^|/)(gpustack|ollama|llama-swap)(/|:|@|$)")
LABELS: Final = ("com.gpustack.", "sparkrun.", "uncloud.", "io.kubernetes.")
RULE: Final = "/etc/sudoers.d/sparkkeep"


def judge(case: Case) -> Iterator[Finding]:
    """Both."""
    yield _others(case)
    yield _sudo(case)


def managed(container: dict[str, Any]) -> bool:
    """It was started by, or is, another manager of models."""
    image = str((container.get("Config") or {}).get("Image") or "")
    labels = labels_of(container)
    return bool(
        NAMES.search(name_of(container)) or IMAGES.search(image) or any(key.startswith(LABELS) for key in labels)
    )


def _others(case: Case) -> Finding:
    there = containers(case)
    if there is None:
        return unknown("others", "could not be asked while the Engine does not answer")
    running = [each for each in there if runs(each)]
    other = sorted({labels_of(each)[OWNER] for each in running if OWNER in labels_of(each)} - {case.wanted.owner})
    found = sorted(name_of(each) for each in running if OWNER not in labels_of(each) and managed(each))
    units = UNIT.findall(case.text("units") or "")
    told = [f"the container {name}" for name in found] + [f"the service {unit}" for unit in units]
    if told:
        stop = [join(("docker", "stop", *found))] if found else []
        stop += [join(("sudo", "systemctl", "disable", "--now", *units))] if units else []
        return warn(
            "others", f"{', '.join(told)} run there. sparkkeep counts their memory and leaves them alone", *stop
        )
    if other:
        what = (
            f"a sparkkeep with another owner keeps containers there: {', '.join(other)}. Each leaves the other's alone"
        )
        return warn("others", what, join(("docker", "ps", "--filter", f"label={OWNER}")))
    strangers = sorted(name_of(each) for each in running if OWNER not in labels_of(each))
    if strangers:
        return ok(
            "others", f"none; {len(strangers)} other containers run and are left alone: {', '.join(strangers[:5])}"
        )
    return ok("others", "none")


def _sudo(case: Case) -> Finding:
    if case.root:
        return ok("sudo", "root needs none")
    if case.text("sudo") is not None:
        return ok("sudo", "it may drop the page cache")
    user = case.user
    rule = f"{user} ALL=(root) NOPASSWD: /usr/bin/tee {DROP_CACHES}"
    what = "it has none, and needs none; with one rule it could drop the page cache before a model starts"
    return ok("sudo", what, f"echo {join((rule,))} | sudo tee {RULE}")
