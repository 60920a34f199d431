"""One Spark: whether it may take work, and whether its host key is believed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.context import Actor, Context, Ctx, KeyChain
from api.errors import Refused, answers
from state.journal import Override

router = APIRouter(prefix="/api/sparks/{name}", tags=["sparks"])

Name = Annotated[str, Path(max_length=200, description="a Spark", examples=["spark-1"])]


class TrustRequest(BaseModel):
    """The fingerprint that a person has seen and agreed to."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: str = Field(
        min_length=8, max_length=200, examples=["SHA256:4mVPT0F0Q1W3q3rPQXkVtq1Vb0kqv0mR7cY3bq2w9XU"]
    )


class HostKey(BaseModel):
    """The host key that a Spark shows now. Nothing is trusted by asking."""

    spark: str
    fingerprint: str
    line: str = Field(description="as it would stand in known_hosts")


def _override(context: Context, name: str, verb: Override, *, on: bool, actor: str) -> dict[str, Any]:
    context.worker(name)
    context.loop.override(verb, name, on=on, by=actor)
    target = context.loop.target()
    return {"spark": name, "cordoned": name in target.cordoned, "drained": name in target.drained}


@router.post("/cordon", summary="Start nothing new there", responses=answers(404))
async def cordon(context: Ctx, name: Name, actor: Actor) -> dict[str, Any]:
    """What runs goes on; nothing new is started. Outlives a restart of sparkkeep."""
    return _override(context, name, Override.CORDON, on=True, actor=actor)


@router.post("/uncordon", summary="Let it take work again", responses=answers(404))
async def uncordon(context: Ctx, name: Name, actor: Actor) -> dict[str, Any]:
    """Take `cordon` back. A `cordon: true` in the desired state stays as it is: edit it there."""
    return _override(context, name, Override.CORDON, on=False, actor=actor)


@router.post("/drain", summary="Empty it", responses=answers(404))
async def drain(context: Ctx, name: Name, actor: Actor) -> dict[str, Any]:
    """Stop what runs there and start nothing new. What may run anywhere moves to another Spark."""
    return _override(context, name, Override.DRAIN, on=True, actor=actor)


@router.post("/undrain", summary="Fill it again", responses=answers(404))
async def undrain(context: Ctx, name: Name, actor: Actor) -> dict[str, Any]:
    """Take `drain` back. A `drain: true` in the desired state stays as it is: edit it there."""
    return _override(context, name, Override.DRAIN, on=False, actor=actor)


def _keys(context: Context) -> KeyChain:
    if context.keys is None:
        raise Refused(404, "NoHostKeys", "this server does not reach its Sparks over SSH")
    return context.keys


@router.get("/hostkey", response_model=HostKey, summary="The host key it shows now", responses=answers(404, 503))
async def hostkey(context: Ctx, name: Name) -> Any:
    """Ask the Spark for its host key, so that a person can compare its fingerprint. Nothing is trusted by this."""
    context.worker(name)
    fingerprint, line = await _keys(context).shown(name)
    return {"spark": name, "fingerprint": fingerprint, "line": line}


@router.post("/trust", response_model=HostKey, summary="Believe its host key", responses=answers(404, 409, 503))
async def trust(context: Ctx, name: Name, request: TrustRequest) -> Any:
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


@router.get("/connectivity", summary="When it answered and when not", responses=answers(404))
async def connectivity(context: Ctx, name: Name, limit: Annotated[int, Query(ge=1, le=5000)] = 500) -> dict[str, Any]:
    """Every change between answering and not, oldest first, each with its reason."""
    context.worker(name)
    found = await context.journal.connectivity(name, limit=limit)
    return {
        "spark": name,
        "changes": [{"at": c.from_at, "reachable": c.state == "reachable", "reason": c.reason} for c in found],
    }
