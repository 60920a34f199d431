"""A question of one's own to a model that serves: what a try-it box asks, and `sparkkeep try`.

It goes the way of the canaries: over the connection to the Spark, to the port that the model listens on, in line with
them. So it says whether the model answers, and nothing of what stands between it and the apps.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import wave
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, ConfigDict, Field

from api.context import Context, Ctx
from api.errors import Refused, answers
from api.schemas.base import answer
from api.schemas.trying import AnswerShape
from reconciler import probe
from reconciler.canaries import CANARIES
from reconciler.canaries.exchange import NoReply
from reconciler.canaries.trying import DEFAULT_TEXT, KINDS, BadAnswer, Kind, Question
from reconciler.model import Instance
from reconciler.verdict import HEALTHY, Verdicts

router = APIRouter(prefix="/api/workloads/{name}", tags=["workloads"])

PATIENCE: Final = 60.0  # seconds for the answer
MOST_SOUND: Final = 2**20  # bytes of a WAV
MOST_SPOKEN: Final = 1000  # characters to be said aloud
GIVEN: Final = ("tokens", "text", "vector", "dimensions", "scores", "audio", "contentType")  # by some kinds
Name = Annotated[str, Path(max_length=200, description="a workload", examples=["qwen3-8b"])]


class TryRequest(BaseModel):
    """What to ask. Left out, `kind` is that of the workload's probe."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | None = None
    text: str = Field(
        default=DEFAULT_TEXT,
        min_length=1,
        max_length=8000,
        description="for a rerank the first line is the question, and each line after it a document",
    )
    audio: str | None = Field(
        default=None,
        max_length=4 * MOST_SOUND // 3 + 4,
        description="for a transcription: a WAV of at most 1 MiB, in base64; left out, a second of a soft tone",
    )


@router.post("/try", summary="Ask it something", responses=answer(AnswerShape) | answers(404, 409, 502, 503, 504))
async def try_(
    context: Ctx,
    name: Name,
    request: Annotated[TryRequest, Body(examples=[{"text": "What is the capital of France?"}])],
) -> dict[str, Any]:
    """The model's own answer, and how long it took. 409, with why, if it does not serve now; 502 if what it answers is
    none of that kind; 504 if nothing comes within a minute.
    """  # noqa: D205
    instance = _serving(context, name)
    question = _question(instance, request)
    spec = instance.probe
    own = spec.kind == question.kind and spec.path not in {"", probe.DEFAULT_PATH}
    path = spec.path if own else CANARIES[question.kind].path
    clock = asyncio.get_running_loop().time
    began = clock()
    asked = question.request(path, spec.model, spec.voice)
    try:
        reply = await context.worker(instance.spark).prober.question(asked, spec.port, timeout=PATIENCE)
    except NoReply as none:
        told = f"{name} on {instance.spark}: {none}"
        raise Refused(504 if none.late else 502, "NoAnswer", told, field="name") from None
    try:
        found = question.read(reply)
    except BadAnswer as bad:
        said = probe.words(reply)
        told = f"{name} on {instance.spark} was asked at {path}, and {bad}{f': {said}' if said else ''}"
        raise Refused(502, "BadAnswer", told, field="kind") from None
    took = round(1000 * (clock() - began), 1)
    given = {"workload": name, "spark": instance.spark, "kind": question.kind, "milliseconds": took}
    return {**dict.fromkeys(GIVEN), "truncated": False, **given, **found}


def _serving(context: Context, name: str) -> Instance:
    """The instance to ask. Raises Refused where none can be: 404, or 409 with the reason."""
    context.containers(name)
    loop = context.loop
    target, world = loop.target(), loop.world()
    verdicts = Verdicts(target, world, loop.plan())
    found = [i for instances in target.instances.values() for i in instances if i.workload == name and i.rank == 0]
    asked = [instance for instance in found if instance.probe.port]
    if found and not asked:
        raise Refused(409, "DoesNotServe", f"{name} listens on no port, so there is nothing to ask", field="name")
    for instance in sorted(asked, key=lambda each: each.spark):
        if verdicts.on(instance).health == HEALTHY:
            return instance
    why = context.status.build()["workloads"].get(name, {}).get("message") or "it runs nowhere"
    raise Refused(409, "NotHealthy", f"{name} does not serve now: {why} (`sparkkeep why {name}`)", field="name")


def _question(instance: Instance, request: TryRequest) -> Question:
    kind = request.kind or next((kind for kind in KINDS if kind == instance.probe.kind), None)
    if kind is None:
        told = f"the probe of {instance.workload} is {instance.probe.kind}, which says nothing of what it can do"
        raise Refused(422, "KindUnknown", f"{told}: say which kind", field="kind", allowed=KINDS)
    if kind == "speech" and len(request.text) > MOST_SPOKEN:
        raise Refused(422, "InvalidRequest", f"speech takes at most {MOST_SPOKEN} characters", field="text")
    return Question(kind=kind, text=request.text, sound=_sound(request.audio) if request.audio is not None else b"")


def _sound(audio: str) -> bytes:
    """The WAV. Raises Refused."""
    try:
        sound = base64.b64decode(audio, validate=True)
        if len(sound) > MOST_SOUND:
            raise Refused(422, "InvalidRequest", "audio has at most 1 MiB", field="audio")
        with wave.open(io.BytesIO(sound)) as opened:
            opened.getparams()
    except (binascii.Error, ValueError, wave.Error, EOFError):
        raise Refused(422, "InvalidRequest", "audio is a WAV in base64", field="audio") from None
    return sound
