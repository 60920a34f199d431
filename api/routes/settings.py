"""The gear: every setting with its type, bounds, help and origin, and changes to any of them as one commit."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.responses import JSONResponse, Response

from api.context import Ctx
from api.routes.desired import CHANGED, Asked, made
from api.schemas.base import answer
from api.schemas.settings import SettingsChangedShape, SettingsShape
from api.settings_view import fields, not_settable, values
from api.tags import quoted
from state.desk import Change, Changes, Desk, Stale, tag_of
from state.load import Loaded
from state.problems import Invalid, Problem
from state.settings import SECTIONS, SETTINGS, helped
from state.yaml_edit import NotEditable

router = APIRouter(prefix="/api/settings", tags=["settings"])

SHORT: Final = 40  # characters of a value that fit a commit's subject


class SettingsRequest(BaseModel):
    """What shall be, by name; null takes what is saved away, so that the environment or the default counts again."""

    model_config = ConfigDict(extra="forbid")

    values: Annotated[dict[Annotated[str, Field(max_length=200)], JsonValue], Field(min_length=1, max_length=200)]
    tag: str | None = Field(default=None, max_length=128, description="as read; what has changed since is not touched")
    reason: str = Field(default="", max_length=500, description="why, for the commit")


@router.get("", summary="Every setting", responses=answer(SettingsShape))
async def read(context: Ctx) -> Response:
    """Name, type, bounds, default, help, and what it is now and why: saved in the desired state, else from an
    environment variable, else by default. The last ones are set when the server starts, and only shown.
    """  # noqa: D205
    document = await context.desk.read_if_possible() if context.desk is not None else None
    tag = tag_of(_changes({}).about(document)) if document is not None else None
    loaded = context.loop.store.current.loaded
    return JSONResponse(_told(context, loaded, tag), headers={"etag": quoted(tag)} if tag is not None else None)


@router.post("", summary="Change settings", responses=CHANGED | answer(SettingsChangedShape))
async def change(
    context: Ctx,
    asked: Asked,
    request: Annotated[
        SettingsRequest,
        Body(examples=[{"values": {"settings.scanInterval": "45s", "guards.maxDestructive": 5}, "reason": "quiet"}]),
    ],
) -> Response:
    """All of them or none, as one commit; in force at once. What is unknown or out of bounds is refused, each by its
    name in `problems`. With `If-Match` or `tag`, only if nothing else was saved since.
    """  # noqa: D205
    asked.tags += (request.tag,) if request.tag else ()
    asked.reason = request.reason or asked.reason
    wrong = not_settable(request.values, context.started)
    known = {name: value for name, value in request.values.items() if name in SETTINGS}
    changes = _changes(known, asked.tags)
    if wrong:
        raise Invalid([*wrong, *await _also_wrong(asked.desk, changes)])
    try:
        draft, commit = await made(asked, changes, _message(known))
    except Invalid as invalid:
        raise Invalid(helped(invalid.problems)) from None
    tag = tag_of(draft.value)
    body = {**asked.outcome.told(draft.loaded, commit), **_told(context, draft.loaded, tag)}
    return JSONResponse(body, headers={} if asked.dry else {"etag": quoted(tag)})


async def _also_wrong(desk: Desk, changes: Changes) -> list[Problem]:
    """What else there is to say to a request that is refused anyway."""
    try:
        await desk.draft(changes)
    except Invalid as invalid:
        return helped(invalid.problems)
    except (Stale, NotEditable):
        return []  # of that when the names are right
    return []


def _changes(known: dict[str, JsonValue], tags: tuple[str, ...] = ()) -> Changes:
    return Changes(
        parts=tuple(
            Change(how="unset" if value is None else "put", route=SETTINGS[name].path, value=value)
            for name, value in known.items()
        ),
        sections=SECTIONS,
        tags=tags,
    )


def _told(context: Ctx, loaded: Loaded, tag: str | None) -> dict[str, Any]:
    return {
        "fields": fields(loaded, context.base, context.started),
        "values": values(loaded, context.started),
        "tag": tag,
    }


def _message(known: dict[str, JsonValue]) -> str:
    """A commit's subject: with the new value where it is a single small one."""
    if len(known) == 1:
        ((name, value),) = known.items()
        if value is None:
            return f"Unset {name}"
        if isinstance(value, (str, int, float, bool)) and len(str(value)) <= SHORT:
            return f"Set {name} to {value}"
    return f"Change {', '.join(known)}"
