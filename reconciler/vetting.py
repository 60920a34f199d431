"""Whether an image takes the flags that a recipe gives it, before anything is started with them.

Pure. The image itself is the best judge: it is asked once for its own help (`reconciler.preflight.ask`), which costs
seconds where a start that fails on a misspelt flag costs minutes. An image that can't say is believed; so is one that
nobody has asked yet when a person only wants to see what would happen.

An image is asked only where the Spark has the memory for it beside all that was promised. Room that a loading model
will leave is waited for. Where there is none to wait for (a full Spark, the workload's own old container), the image is
believed: to wait would be to wait forever, and the start itself passes admission or does not.
"""

from __future__ import annotations

from reconciler.images import image_id
from reconciler.job import Job, Kind, held, job
from reconciler.memory.admission import Promise, Room, told
from reconciler.model import Container, Held, Instance, Scan, World
from reconciler.place import gib
from reconciler.preflight.ask import CAP, PROGRAMS
from reconciler.preflight.check import check
from reconciler.promised import checks, loading
from reconciler.target import Target


def vet(
    instance: Instance, scan: Scan, world: World, target: Target, container: Container | None = None
) -> Job | Held | None:
    """What stands between an instance and its creation because of its flags; None if nothing does."""
    if instance.engine not in PROGRAMS or not instance.flags:
        return None
    image = instance.spec.image
    asked = (instance.engine, image_id(scan.images, image))
    table = world.answers.get(asked)
    findings = check(instance.engine, instance.flags, table, None, patched=instance.patched)
    wrong = [finding.message for finding in findings if finding.certain]
    if wrong:
        text = f"{image} would refuse to start: {'; '.join(wrong)}"
        return held(instance, "FlagRefused", text, terminal=True)
    if asked in world.answers or not asked[1]:
        return None
    if checks(world, instance.spark, scan):
        return held(instance, "CheckingFlags", f"{image} is being asked on {instance.spark} which flags it knows")
    return None if world.lenient else _ask(instance, scan, world, target, container)


def _ask(
    instance: Instance, scan: Scan, world: World, target: Target, container: Container | None
) -> Job | Held | None:
    """The question, or the wait for room for it; None where no room will come by waiting."""
    cause = f"{instance.spec.image} was not asked yet which flags it knows"
    starting = [i for _, i in loading(target, world, instance.spark, scan)]
    room = Room(
        spark=instance.spark,
        total=scan.facts.memory_total,
        available=scan.facts.memory_available,
        reserve=target.reserves[instance.spark],
        promised=tuple(Promise(workload=i.workload, memory=i.memory) for i in starting),
    )
    if room.free >= CAP:
        return job(Kind.ASK, instance, container, cause)
    if not any(i.memory for i in starting if i.workload != instance.workload):
        return None
    text = f"{cause}; to ask it may take {gib(CAP)}, {told(room)}: {gib(CAP - room.free)} are missing"
    return held(instance, "WaitingTurn", text)
