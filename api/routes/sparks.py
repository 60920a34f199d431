"""One Spark: whether it may take work, whether its host key is believed, and what a container on it is made of."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.context import Actor, Context, Ctx, Dry, KeyChain
from api.errors import Refused, answers, no_such
from api.schemas.base import answer, link
from api.schemas.journal import ConnectivityShape
from api.schemas.sparks import HostKey, TakesWork
from api.what_if import overridden
from reconciler.importers.live import inspect_container, inspect_image, masked
from reconciler.model import Container
from reconciler.shell import join
from reconciler.worker import Worker
from state.journal import Override

SHORTEST_ID: Final = 12  # characters
INSPECT_LIMIT: Final = 20.0  # seconds
router = APIRouter(prefix="/api/sparks/{name}", tags=["sparks"])

AGREE: Final = {
    "trust": link(
        "trust_api_sparks__name__trust_post",
        body={"fingerprint": "$response.body#/fingerprint"},
        name="$request.path.name",
    )
}
TAKES_WORK: Final = answer(TakesWork) | answers(404)
Name = Annotated[str, Path(max_length=200, description="a Spark", examples=["spark-1"])]


class TrustRequest(BaseModel):
    """The fingerprint that a person has seen and agreed to."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: str = Field(
        min_length=8, max_length=200, examples=["SHA256:4mVPT0F0Q1W3q3rPQXkVtq1Vb0kqv0mR7cY3bq2w9XU"]
    )


async def _override(context: Context, name: str, verb: Override, *, on: bool, actor: str, dry: bool) -> dict[str, Any]:
    context.worker(name)
    plan = await overridden(context, verb, name, on=on) if dry else None
    if not dry:
        context.loop.override(verb, name, on=on, by=actor)
    target = context.loop.target()
    stands = {"spark": name, "cordoned": name in target.cordoned, "drained": name in target.drained}
    return {**stands, "plan": plan}


@router.post("/cordon", summary="Start nothing new there", responses=TAKES_WORK)
async def cordon(context: Ctx, name: Name, actor: Actor, dry: Dry = False) -> dict[str, Any]:
    """What runs goes on; nothing new is started. Outlives a restart of sparkkeep."""
    return await _override(context, name, Override.CORDON, on=True, actor=actor, dry=dry)


@router.post("/uncordon", summary="Let it take work again", responses=TAKES_WORK)
async def uncordon(context: Ctx, name: Name, actor: Actor, dry: Dry = False) -> dict[str, Any]:
    """Take `cordon` back. A `cordon: true` in the desired state stays as it is: edit it there."""
    return await _override(context, name, Override.CORDON, on=False, actor=actor, dry=dry)


@router.post("/drain", summary="Empty it", responses=TAKES_WORK)
async def drain(context: Ctx, name: Name, actor: Actor, dry: Dry = False) -> dict[str, Any]:
    """Stop what runs there and start nothing new. What may run anywhere moves to another Spark."""
    return await _override(context, name, Override.DRAIN, on=True, actor=actor, dry=dry)


@router.post("/undrain", summary="Fill it again", responses=TAKES_WORK)
async def undrain(context: Ctx, name: Name, actor: Actor, dry: Dry = False) -> dict[str, Any]:
    """Take `drain` back. A `drain: true` in the desired state stays as it is: edit it there."""
    return await _override(context, name, Override.DRAIN, on=False, actor=actor, dry=dry)


def _keys(context: Context) -> KeyChain:
    if context.keys is None:
        raise Refused(404, "NoHostKeys", "this server does not reach its Sparks over SSH")
    return context.keys


@router.get("/hostkey", summary="The host key it shows now", responses=answer(HostKey, links=AGREE) | answers(404, 503))
async def hostkey(context: Ctx, name: Name) -> dict[str, Any]:
    """Ask the Spark for its host key, so that a person can compare its fingerprint. Nothing is trusted by this."""
    context.worker(name)
    fingerprint, line = await _keys(context).shown(name)
    return {"spark": name, "fingerprint": fingerprint, "line": line}


@router.post("/trust", summary="Believe its host key", responses=answer(HostKey) | answers(404, 409, 503))
async def trust(context: Ctx, name: Name, request: TrustRequest) -> dict[str, Any]:
    """Write the Spark's host key down as trusted, if it still is the one whose fingerprint was agreed to; else 409."""
    context.worker(name)
    keys = _keys(context)
    fingerprint, line = await keys.shown(name)
    if fingerprint != request.fingerprint:
        message = f"{name} shows {fingerprint} now, not the fingerprint that was agreed to; nothing is trusted"
        raise Refused(409, "FingerprintDiffers", message, field="fingerprint", allowed=[fingerprint])
    keys.trust(line)
    context.loop.hurry(name)
    return {"spark": name, "fingerprint": fingerprint, "line": line}


@router.get(
    "/connectivity",
    summary="When it answered and when not",
    responses=answer(ConnectivityShape) | answers(404),
)
async def connectivity(context: Ctx, name: Name, limit: Annotated[int, Query(ge=1, le=5000)] = 500) -> dict[str, Any]:
    """Every change between answering and not, oldest first, each with its reason."""
    context.worker(name)
    found = await context.journal.connectivity(name, limit=limit)
    return {
        "spark": name,
        "changes": [{"at": c.from_at, "reachable": c.state == "reachable", "reason": c.reason} for c in found],
    }


@router.get("/containers/{id}/inspect", summary="What a container is made of", responses=answers(404, 502, 503))
async def inspect(
    context: Ctx,
    name: Name,
    container: Annotated[str, Path(alias="id", max_length=200, description="its name, or its id's beginning")],
) -> list[dict[str, Any]]:
    """What `docker inspect` says of a container and its image, for `sparkkeep import containers`. Whatever looks like
    a secret is replaced by `sk-masked-by-sparkkeep`. Nothing is changed by asking.
    """  # noqa: D205
    worker = context.worker(name)
    found = _container(worker, container)
    told = await worker.host.run(join(inspect_container(found.id)), timeout=INSPECT_LIMIT)
    if told.status:
        raise Refused(404, "NoSuchContainer", f"{found.name} is not on {name} any more", field="id")
    image = (
        await worker.host.run(join(inspect_image(found.image_id)), timeout=INSPECT_LIMIT) if found.image_id else None
    )
    try:
        return masked(told.stdout, image.stdout if image is not None and not image.status else "")
    except ValueError:
        text = f"Docker on {name} did not answer with what `docker inspect` prints"
        raise Refused(502, "EngineUnreadable", text) from None


def _container(worker: Worker, wanted: str) -> Container:
    """The container as last seen. Raises Refused (404)."""
    containers = worker.sight.scan.containers if worker.sight.scan is not None else ()
    exact = [c for c in containers if wanted in {c.name, c.id}]
    found = exact or [c for c in containers if len(wanted) >= SHORTEST_ID and c.id.startswith(wanted)]
    if len(found) != 1:
        raise no_such("container", wanted, (c.name for c in containers))
    return found[0]
