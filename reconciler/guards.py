"""What a plan may not destroy without a person's word.

Pure. Three laws: an empty desired state removes nothing, most Sparks gone at once means that it is us, and
one plan takes down no more running containers than its budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.model import NEVER_SEEN, World
from reconciler.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which guard holds, in one word and in a sentence."""

    reason: str
    message: str


def judge(target: Target, world: World, destroyed: Sequence[str]) -> Verdict | None:
    """The guard that forbids taking down the containers `destroyed` (ids) in one plan; None if none does.

    Containers that a person has approved don't count.
    """
    counted = [container for container in destroyed if container not in world.approved]
    if not counted:
        return None
    if not target.declared and not target.allow_empty:
        return Verdict(
            reason="EmptyDesired",
            message=f"the desired state is empty: {len(counted)} running containers would go; "
            "`sparkkeep apply` releases it, `guards: {allowEmpty: true}` always allows it",
        )
    sights = [world.sights.get(name, NEVER_SEEN) for name in target.sparks]
    gone = sum(1 for sight in sights if sight.unknown)
    if gone and gone >= target.unreachable_freeze * len(sights):
        return Verdict(
            reason="TooManyUnreachable",
            message=f"{gone} of {len(sights)} Sparks do not answer: it may be us, so nothing is taken down",
        )
    if len(counted) > target.max_destructive:
        return Verdict(
            reason="TooDestructive",
            message=f"{len(counted)} running containers would go at once, {target.max_destructive} are allowed "
            "(guards.maxDestructive); `sparkkeep apply` releases it",
        )
    return None
