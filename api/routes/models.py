"""The menu: what lies on the Sparks' disks, matched to recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, cast

from fastapi import APIRouter, Depends, Query, Request

from api.errors import Refused, answers, no_such
from api.schemas.base import answer
from api.schemas.models import AskedShape, MenuShape
from reconciler.menu import Entry, Presence
from reconciler.surveyor import Seen

router = APIRouter(prefix="/api/models", tags=["models"])

EXAMPLE = {
    "models": [
        {
            "repository": "Qwen/Qwen3-8B",
            "kind": "model",
            "file": None,
            "state": "ready_to_run",
            "size": 16381912819,
            "recipes": ["qwen3-8b"],
            "workloads": ["qwen3-8b"],
            "sparks": {"spark-1": {"revision": "b968826d9c46dd6066d109eabc6255188de91218", "complete": True}},
            "inferred": None,
        }
    ],
    "sparks": {"spark-1": {"surveyedAt": 1760000000.0, "reason": "", "message": "", "problems": [], "others": []}},
}


class DiskRoom(Protocol):
    """What is known of all disks; `reconciler.surveyor.Disks` is one."""

    def seen(self) -> Mapping[str, Seen]:
        """What is known of each Spark's disks."""

    async def menu(self) -> tuple[Entry, ...]:
        """All entries."""

    def look(self, spark: str | None = None) -> tuple[str, ...]:
        """Ask for a survey of one Spark, or of all. Gives the names. Raises KeyError for an unknown one."""


def _room(request: Request) -> DiskRoom:
    room = request.app.state.context.disks
    if room is None:
        raise Refused(503, "NoSurvey", "this server does not look at the disks of its Sparks")
    return cast("DiskRoom", room)


Room = Annotated[DiskRoom, Depends(_room)]


@router.get(
    "",
    summary="The menu",
    responses=answer(MenuShape, example=EXAMPLE) | answers(503),
)
async def models(room: Room) -> dict[str, Any]:
    """Every model, GGUF file and NIM cache that a disk holds or a recipe names. Answered from the latest surveys; a
    Spark that could not be surveyed shows its last one, with the reason and the age.
    """  # noqa: D205
    entries = await room.menu()
    sparks = {name: _seen_json(seen) for name, seen in sorted(room.seen().items())}
    return {"models": [entry_json(entry) for entry in entries], "sparks": sparks}


@router.post(
    "/survey",
    summary="Look at the disks again",
    status_code=202,
    responses=answer(AskedShape, 202) | answers(404, 503),
)
async def survey(
    room: Room, spark: Annotated[str | None, Query(max_length=200, description="only this one")] = None
) -> dict[str, Any]:
    """Asks for a survey now; it takes some seconds. `surveyedAt` of `GET /api/models` tells when it is done."""
    known = room.seen()
    if spark is not None and spark not in known:
        raise no_such("spark", spark, known)
    return {"asked": list(room.look(spark))}


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry as the API shows it."""
    return {
        "repository": entry.repository,
        "kind": entry.kind,
        "file": entry.file,
        "state": entry.state.value,
        "size": entry.size,
        "recipes": list(entry.recipes),
        "workloads": list(entry.workloads),
        "sparks": {name: _presence_json(presence) for name, presence in sorted(entry.sparks.items())},
        "inferred": entry.inferred,
    }


def _presence_json(presence: Presence) -> dict[str, Any]:
    return {
        "revision": presence.revision,
        "refs": list(presence.refs),
        "size": presence.size,
        "sizeOnDisk": presence.size_on_disk,
        "complete": presence.complete,
        "downloading": presence.downloading,
        "incompleteBytes": presence.incomplete_bytes,
        "missing": list(presence.missing),
        "path": presence.path,
    }


def _seen_json(seen: Seen) -> dict[str, Any]:
    survey = seen.survey
    return {
        "surveyedAt": survey.taken_at if survey else None,
        "reason": seen.reason,
        "message": seen.message,
        "failedAt": seen.failed_at,
        "problems": list(survey.problems) if survey else [],
        "others": [{"folder": other.folder, "name": other.name} for other in survey.others] if survey else [],
    }
