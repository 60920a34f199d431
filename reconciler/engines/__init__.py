"""How each engine is started: from a recipe and a seat to the container that runs it. Pure.

`launch` is all that the planner needs: an engine fills in what the recipe leaves to it (`effective`, which a person can
be shown), the mods are put before the program, and the outcome is a `LaunchSpec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.canaries.texts import ALIKE
from reconciler.engines import caches, container, llamacpp, nim, sglang, trtllm, vllm
from reconciler.engines.mods import Digests, with_mods
from reconciler.engines.seat import Fabric, Seat, seats, solo
from reconciler.engines.start import NotLaunchable, Start, past_the_entrypoint
from reconciler.model import LaunchSpec, ProbeSpec, Value
from state.engines import given
from state.pooling import Pooling
from state.recipes import Probe, Recipe, SecretRef

__all__ = [
    "NO_MODS",
    "Digests",
    "Fabric",
    "Launch",
    "NotLaunchable",
    "Seat",
    "effective",
    "launch",
    "seats",
    "served_name",
    "solo",
]

Engine = Callable[[Recipe, Seat], tuple[Recipe, Start]]
ENGINES: Final[Mapping[str, Engine]] = {
    "vllm": vllm.launch,
    "sglang": sglang.launch,
    "trtllm": trtllm.launch,
    "llamacpp": llamacpp.launch,
    "nim": nim.launch,
    "container": container.launch,
}
NO_MODS: Final[Digests] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Value):
    """One instance as it is created. `folders` of the Spark are made before, if they are missing.

    Of those that are `open` everybody may write to what they hold.
    """

    spec: LaunchSpec
    probe: ProbeSpec
    folders: tuple[str, ...]
    open: frozenset[str] = frozenset()


def effective(recipe: Recipe, seat: Seat, mods: Digests = NO_MODS) -> Recipe:
    """What the recipe comes to on this seat: an `engine: container` recipe in which everything is written out.

    `mods` has the content hash of each mod by the name that recipes call it, or why it can't be used.
    Raises NotLaunchable.
    """
    return _filled(recipe, seat, mods)[0]


def launch(recipe: Recipe, seat: Seat, mods: Digests = NO_MODS) -> Launch:
    """The container of one instance, how to ask it whether it serves, and what it needs beforehand.

    Raises NotLaunchable.
    """
    full, page = _filled(recipe, seat, mods)
    folders = tuple(mount.source for mount in full.mounts if mount.create and mount.source.startswith(("/", "$HOME")))
    probe = _probe(full, page, served_name(recipe, seat.workload) or "")
    opened = {cache.source for cache in caches.NIM if recipe.engine == "nim"}  # its user is nobody the Spark knows
    return Launch(spec=_spec(full), probe=probe, folders=folders, open=frozenset(opened & set(folders)))


def _filled(recipe: Recipe, seat: Seat, mods: Digests) -> tuple[Recipe, str]:
    """The effective recipe, and the page that tells its server's health."""
    full, start = ENGINES[recipe.engine](recipe, seat)
    full, start = with_mods(full, start, mods)
    entrypoint, command = past_the_entrypoint(recipe, start)
    changes = {"engine": "container", "entrypoint": entrypoint, "command": command}
    return full.model_copy(update={**changes, "flags": {}, "mods": [], "distributed": None}), start.page


def served_name(recipe: Recipe, workload: str) -> str | None:
    """The model's name in requests to an instance. None where only the server itself can say, as for a container."""
    if recipe.engine == "trtllm":
        return _text(given(recipe.flags, "served-model-name")) or recipe.model
    if recipe.engine == "sglang":
        return _text(given(recipe.flags, "served-model-name")) or workload
    if recipe.engine == "llamacpp":
        return _text(given(recipe.flags, "alias")) or workload
    if recipe.engine == "nim":
        return _text(recipe.env.get("NIM_SERVED_MODEL_NAME")).partition(",")[0] or workload
    return workload if recipe.engine == "vllm" else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _spec(recipe: Recipe) -> LaunchSpec:
    """Everything that decides how the container is created."""
    plain = {key: value for key, value in recipe.env.items() if isinstance(value, str)}
    secret = {key: value.secret for key, value in recipe.env.items() if isinstance(value, SecretRef)}
    return LaunchSpec(
        image=recipe.image,
        entrypoint=None if recipe.entrypoint is None else tuple(recipe.entrypoint),
        command=tuple(recipe.command),
        env=tuple(sorted(plain.items())),
        secrets=tuple(sorted(secret.items())),
        mounts=tuple((mount.source, mount.target, mount.read_only) for mount in recipe.mounts),
        port=recipe.port,
        ports=tuple((port.host, port.container, port.protocol) for port in recipe.ports),
        gpus=recipe.gpus == "all",
        shm=recipe.shm,
        network=recipe.network,
        ipc=recipe.ipc or "private",
        user=recipe.user,
        workdir=recipe.workdir,
        ulimits=tuple(sorted(recipe.ulimits.items())),
        devices=tuple(recipe.devices),
        cap_add=tuple(recipe.cap_add),
        init=recipe.init,
        privileged=recipe.privileged,
        security_opt=tuple(recipe.security_opt),
    )


def _few(pooling: Pooling | None) -> bool:
    """Whether its server takes too few texts at once to be asked which of them are alike."""
    return pooling is not None and pooling.batch is not None and pooling.batch < len(ALIKE) + 1


def _probe(recipe: Recipe, page: str, model: str) -> ProbeSpec:
    """The probe of an effective recipe, with the port that it asks, and the model's name there."""
    probe = recipe.probe or Probe(kind="none")
    return ProbeSpec(
        kind=probe.kind,
        path=probe.path,
        port=probe.port or recipe.port or 0,
        interval=probe.interval,
        timeout=probe.timeout,
        failures=probe.failures,
        health=page,
        model=model,
        known_answer=probe.known_answer and not _few(recipe.pooling),
    )
