"""The commands that a job comes to, one step each, with what they mean for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reconciler import launch
from reconciler.job import Job, Kind
from reconciler.jobs import SparkView
from reconciler.model import Container, Instance, Key, Step, Verb
from reconciler.place import gib
from reconciler.shell import Argv

COMMAND_TIMEOUT: Final = 60.0
DELIVER_TIMEOUT: Final = 600.0
BUILD_TIMEOUT: Final = 2 * 3600.0
CACHE: Final = 2**30  # bytes of page cache that are worth a step


def take_down(job: Job, container: Container, patience: float, look: str, drains: Key | None) -> Iterator[Step]:
    """Stop a container and remove it; `patience` in seconds before Docker kills it."""
    short, stays, ordinary = container.id[:12], job.kind is Kind.RECREATE, job.kind is Kind.UNLOAD
    if container.state == "paused":
        yield step(
            job,
            Verb.UNPAUSE,
            launch.unpause(short),
            "a paused container can't be stopped",
            COMMAND_TIMEOUT,
            container,
            look,
        )
    if container.running:
        effect = (
            f"{job.workload} is down until its new container answers"
            if stays
            else f"{job.workload} is gone from {job.spark}{' until it is asked for' if ordinary else ''}"
        )
        argv, timeout = launch.stop(short, patience), patience + COMMAND_TIMEOUT
        made = step(job, Verb.STOP, argv, effect, timeout, container, look, destructive=not ordinary, drains=drains)
        yield replace(made, event=job.event, sake=job.sake) if ordinary else made
    yield step(
        job,
        Verb.REMOVE,
        launch.remove(short),
        f"{container.name} and its writable layer are deleted",
        COMMAND_TIMEOUT,
        container,
    )


def in_place(job: Job) -> Step:
    """What needs no other container: let it go on, or change its restart policy."""
    container, instance = container_of(job), instance_of(job)
    short = container.id[:12]
    if job.kind is Kind.UNPAUSE:
        return step(
            job,
            Verb.UNPAUSE,
            launch.unpause(short),
            f"{instance.workload} goes on",
            COMMAND_TIMEOUT,
            container,
        )
    argv = launch.update_restart(short, instance.restart)
    return step(job, Verb.UPDATE, argv, "in place: nothing stops", COMMAND_TIMEOUT, container)


def start_again(job: Job, look: str) -> Step:
    """A container that was stopped, or stopped by itself, runs again."""
    container = container_of(job)
    argv, effect = launch.start(container.id[:12]), f"{job.workload} runs again"
    return step(job, Verb.START, argv, effect, COMMAND_TIMEOUT, container, look)


def folders(job: Job, look: str) -> Iterator[Step]:
    """The folders that its mounts need."""
    instance = instance_of(job)
    if instance.create_folders:
        argv = launch.make_folders(instance.create_folders)
        yield step(job, Verb.MKDIR, argv, "folders for its mounts exist", COMMAND_TIMEOUT, None, look)
    if instance.open_folders:
        argv = launch.open_folders(instance.open_folders)
        effect = "folders for its mounts exist, and everybody on the Spark may write there"
        yield step(job, Verb.MKDIR, argv, effect, COMMAND_TIMEOUT, None, look)


def build(job: Job) -> Step:
    """Its image, from a folder that is sent along."""
    instance = instance_of(job)
    built = instance.built
    assert built is not None, "what is built says from what"  # noqa: S101  # a law of jobs.fetch, not input
    sent = f"{built.context}/ is sent ({built.files} files, {-(-built.size // 1024)} KiB)"
    effect = f"{sent}, and {instance.spec.image} is built from it; what runs goes on running"
    made = step(job, Verb.BUILD, launch.build(instance.spec.image, built), effect, BUILD_TIMEOUT)
    return replace(made, image=instance.spec.image, content=built.content)


def deliveries(job: Job, look: str) -> Iterator[Step]:
    """Its mods; what is there already is not sent again."""
    for name, digest in dict(instance_of(job).mods).items():
        effect = f"the mod {name} lies on {job.spark}"
        made = step(job, Verb.DELIVER, launch.deliver(name, digest), effect, DELIVER_TIMEOUT, None, look)
        yield replace(made, mod=digest)


def free(view: SparkView, job: Job, look: str) -> Iterator[Step]:
    """Have memory free, and not only available, for what loads a model: CUDA counts the page cache as taken."""
    instance, facts = instance_of(job), view.scan.facts
    wanted = view.target.drop_page_cache and instance.spec.gpus
    if (
        not wanted
        or facts.memory_free is None
        or facts.memory_free >= instance.memory
        or facts.memory_free > facts.memory_available - CACHE
    ):
        return
    cause = (
        f"{instance.workload} needs {gib(instance.memory)} and {gib(facts.memory_free)} are free, of "
        f"{gib(facts.memory_available)} available: the rest is page cache, which CUDA calls taken"
    )
    effect = "files are read from the disk anew; nothing stops, and where it isn't allowed nothing changes"
    made = step(job, Verb.FREE, launch.free_page_cache(), effect, COMMAND_TIMEOUT, None, look)
    yield replace(made, cause=cause)


def gap(view: SparkView, job: Job) -> str:
    """How long it was away the last time it started, if that was seen."""
    container = container_of(job)
    probe = view.world.probes.get((job.workload, job.spark))
    if probe is None or probe.container != container.id or not probe.ready_at:
        return "until it is ready again"
    return f"for about {max(1.0, probe.ready_at - container.started_at):.0f} s"


def step(
    job: Job,
    verb: Verb,
    argv: Argv,
    consequence: str,
    timeout: float,
    container: Container | None = None,
    look_first: str = "",
    *,
    destructive: bool = False,
    secrets: tuple[tuple[str, str], ...] = (),
    drains: Key | None = None,
) -> Step:
    """A step of a job. `look_first` says what another look must show before it may run."""
    return Step(
        verb=verb,
        spark=job.spark,
        workload=job.workload,
        rank=job.rank,
        argv=argv,
        cause=job.cause,
        consequence=consequence,
        container=container.id if container else "",
        destructive=destructive,
        look_first=look_first,
        secrets=secrets,
        name=container.name if container else instance_of(job).name,
        failing=job.failing and verb in {Verb.RESTART, Verb.STOP},
        drains=drains,
        timeout=timeout,
    )


def instance_of(job: Job) -> Instance:
    """The instance of a job that has one."""
    assert job.instance is not None, f"a {job.kind} has an instance"  # noqa: S101  # a law of jobs.survey, not input
    return job.instance


def container_of(job: Job) -> Container:
    """The container of a job that has one."""
    assert job.container is not None, f"a {job.kind} has a container"  # noqa: S101  # a law of jobs.survey, not input
    return job.container
