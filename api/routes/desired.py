"""The desired state: read and changed, the whole or a part. Each change is judged, committed, and in force at once.

A client that shows the tag it has read with `If-Match` changes nothing that it has not seen: 412, with what is there
now. `dryRun=true` judges and plans, and stores nothing.
"""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal

import yaml
from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request
from pydantic import JsonValue
from starlette.responses import JSONResponse, Response

from api.author import Author
from api.candidate import Outcome
from api.context import Ctx, Dry
from api.errors import InvalidDocument, Refused, answers, no_such
from api.schemas.base import answer
from api.schemas.desired import ChangedShape, PartShape, StaleShape
from api.tags import Absent, Wanted, quoted
from state.desk import Change, Changes, Desk, Document, Draft, How, NotThere, SeveralFiles, Stale, tag_of
from state.git import GitFailed
from state.load import Loaded
from state.repository_commit import Commit
from state.repository_draft import DirtyFiles
from state.yaml_edit import GONE, NotEditable

router = APIRouter(prefix="/api/desired", tags=["desired"])

YAML: Final = "application/yaml"
MERGE: Final = "application/merge-patch+json"

Section = Annotated[
    Literal["sparks", "models", "services"], Path(description="what kind of thing", examples=["services"])
]
Single = Annotated[Literal["settings", "guards"], Path(description="the part")]
Name = Annotated[str, Path(max_length=64, description="its name", examples=["hello"])]
Reason = Annotated[str, Query(max_length=500, description="why, for the commit")]
File = Annotated[str | None, Query(max_length=255, description="one of the files, where there are several")]
Value = Annotated[
    dict[str, JsonValue], Body(examples=[{"recipe": {"image": "python:3.13-slim", "port": 8080}, "on": "spark-1"}])
]
Patch = Annotated[dict[str, JsonValue], Body(examples=[{"run": "never"}], media_type="application/json")]
SinglePatch = Annotated[dict[str, JsonValue], Body(examples=[{"scanInterval": "45s"}], media_type="application/json")]
WRITTEN: Final = "sparks:\n  spark-1: {host: 192.168.1.11}   # under the desk\n"
WHOLE: Final = {"sparks": {"spark-1": {"host": "192.168.1.11"}}}

CHANGED = (
    answer(ChangedShape) | answer(StaleShape, 412) | answer(InvalidDocument, 422) | answers(404, 409, 503)
)  # what each change can come to


def _desk(context: Ctx) -> Desk:
    if context.desk is None:
        raise Refused(503, "NoHistory", f"changes can't be committed here: {context.no_desk}; edit the files")
    return context.desk


Kept = Annotated[Desk, Depends(_desk)]


class _Asked:
    """What every change is asked for with: where, by whom, why, for which tags, and whether only to see."""

    def __init__(
        self, context: Ctx, kept: Kept, author: Author, wanted: Wanted, dry: Dry = False, reason: Reason = ""
    ) -> None:
        self.desk = kept
        self.author = author
        self.tags = wanted
        self.dry = dry
        self.reason = reason
        self.outcome = Outcome(context=context, dry=dry)


Asked = Annotated[_Asked, Depends()]


@router.get(
    "",
    summary="The whole of it",
    responses={
        200: {
            "model": PartShape,
            "description": "as JSON, or as the YAML that people wrote",
            "content": {
                "application/json": {"example": WHOLE},
                YAML: {"example": WRITTEN},
            },
        },
        **answer(InvalidDocument, 422),
        **answers(404, 503),
    },
)
async def whole(kept: Kept, accept: Annotated[str, Header()] = "*/*", file: File = None) -> Response:
    """As its files are now, whether or not they are in force. JSON with `Accept: application/json`; YAML otherwise,
    with every comment, where it is one file or one is named.
    """  # noqa: D205
    document = await kept.read()
    head = {"etag": quoted(document.tag)}
    if file is None and "application/json" in accept:
        return JSONResponse(document.tree.plain(), headers=head)
    if file is None and len(document.sources) > 1:
        plain = json.loads(json.dumps(document.tree.plain()))
        return Response(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), media_type=YAML, headers=head)
    return Response(dict(_files(document))[_file(document, file)], media_type=YAML, headers=head)


@router.put(
    "",
    summary="Replace the whole of it",
    responses=CHANGED,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object", "examples": [WHOLE]}},
                YAML: {"schema": {"type": "string", "examples": [WRITTEN]}},
            },
        }
    },
)
async def replace_whole(asked: Asked, request: Request, file: File = None) -> Response:
    """As YAML, the text of its file (`file` names one of several). As JSON, what it shall mean: comments on what stays
    are kept. Refused while a file was edited by hand and not committed, unless `If-Match` says that this was seen.
    """  # noqa: D205
    body = await request.body()
    if "json" not in request.headers.get("content-type", ""):
        return await _replace_file(asked, body, file)
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Refused(422, "InvalidRequest", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused(422, "InvalidRequest", "a desired state is a map: sparks, models, services, ...")
    change = Change(how="put", route=(), value=value, tags=asked.tags)
    return await _change(asked, change, "Replace the desired state")


@router.get("/{section}/{name}", summary="One part", responses=answer(PartShape) | answers(404, 503))
async def part(kept: Kept, section: Section, name: Name) -> Response:
    """As it stands in its file, whether or not it is in force."""
    return _shown(await kept.read(), (section, name))


@router.put("/{section}/{name}", summary="Make or replace one", responses=CHANGED)
async def put(asked: Asked, section: Section, name: Name, value: Value, absent: Absent) -> Response:
    """All of it, in place of what stands there. `If-None-Match: *` only makes what is not there yet."""
    change = Change(how="put", route=(section, name), value=value, tags=asked.tags, absent=absent)
    return await _change(asked, change, f"Set {section}.{name}")


@router.patch("/{section}/{name}", summary="Change one", responses=CHANGED)
async def patch(asked: Asked, section: Section, name: Name, value: Patch) -> Response:
    """A merge patch (RFC 7396): keys that it has are set, those that are null are removed, the others stay."""
    change = Change(how="patch", route=(section, name), value=value, tags=asked.tags)
    return await _change(asked, change, _told(section, name, value))


@router.delete("/{section}/{name}", summary="Remove one", responses=CHANGED)
async def remove(asked: Asked, section: Section, name: Name) -> Response:
    """It is declared no more. What runs of it is stopped, as far as the guards let it."""
    return await _change(
        asked, Change(how="remove", route=(section, name), tags=asked.tags), f"Remove {section}.{name}"
    )


@router.get("/{single}", summary="Settings or guards", responses=answer(PartShape) | answers(503))
async def single(kept: Kept, single: Single) -> Response:
    """As they stand in the file; what stands nowhere has its default."""
    document = await kept.read()
    found = document.at((single,))
    value = found if isinstance(found, dict) else {}
    return JSONResponse(value, headers={"etag": quoted(tag_of(value))})


@router.patch("/{single}", summary="Change settings or guards", responses=CHANGED)
async def patch_single(asked: Asked, single: Single, value: SinglePatch) -> Response:
    """A merge patch (RFC 7396); null gives a setting its default again."""
    document = await asked.desk.read()
    how: How = "patch" if isinstance(document.at((single,)), dict) else "put"
    given = value if how == "patch" else {key: each for key, each in value.items() if each is not None}
    change = Change(how=how, route=(single,), value=given, tags=asked.tags)
    return await _change(asked, change, f"Change {single}: {', '.join(value)}")


async def _change(asked: _Asked, change: Change, message: str) -> Response:
    """Make a change, or only judge it, and tell what it comes to."""
    draft, commit = await made(asked, change, message)
    return _answer(asked, draft.loaded, commit, draft.value)


async def made(asked: Asked, change: Change | Changes, message: str) -> tuple[Draft, Commit | None]:
    """Make a change, or only judge it. Raises Refused or Invalid."""
    try:
        if asked.dry:
            draft, commit = await asked.desk.draft(change), None
            await asked.outcome.foresee(draft.loaded)
        else:
            written = await asked.desk.write(
                change, message=message, actor=asked.author, reason=asked.reason, foresee=asked.outcome.foresee
            )
            draft, commit = written.draft, written.commit
    except (Stale, NotThere, NotEditable, SeveralFiles, GitFailed) as error:
        raise _refusal(error) from error
    return draft, commit


async def _replace_file(asked: _Asked, text: bytes, file: str | None) -> Response:
    path, commit = await _path(asked.desk, file), None
    try:
        if asked.dry:
            loaded = await asked.desk.judge_file(path, text, tags=asked.tags)
            await asked.outcome.foresee(loaded)
        else:
            message = f"Replace {FilePath(path).name}"
            commit, loaded = await asked.desk.replace(
                path,
                text,
                tags=asked.tags,
                message=message,
                actor=asked.author,
                reason=asked.reason,
                foresee=asked.outcome.foresee,
            )
    except (Stale, GitFailed) as error:
        raise _refusal(error) from error
    return _answer(asked, loaded, commit, GONE)


async def _path(kept: Desk, file: str | None) -> str:
    """The file that is meant. Raises Refused."""
    names = await kept.files()
    known = {FilePath(name).name: name for name in names}
    if file is None and len(names) == 1:
        return names[0]
    if file is None:
        raise Refused(409, "SeveralFiles", "say which file with `file`", field="file", allowed=sorted(known))
    if file not in known:
        raise no_such("file", file, known)
    return known[file]


def _files(document: Document) -> list[tuple[str, bytes]]:
    return [(FilePath(source.name).name, source.data) for source in document.sources]


def _file(document: Document, file: str | None) -> str:
    names = [name for name, _ in _files(document)]
    if file is not None and file not in names:
        raise no_such("file", file, names)
    return file or names[0]


def _shown(document: Document, route: tuple[str, str]) -> Response:
    found = document.at(route)
    if found is GONE:
        above = document.at(route[:1])
        raise no_such(route[0].removesuffix("s"), route[1], above if isinstance(above, dict) else ())
    return JSONResponse(found, headers={"etag": quoted(tag_of(found))})


def _told(section: str, name: str, value: dict[str, JsonValue]) -> str:
    """A commit's subject for a patch: with the new value where it is a single small one."""
    keys = ", ".join(value) or "nothing"
    ((only, new),) = value.items() if len(value) == 1 else (("", None),)
    if only and isinstance(new, (str, int, float, bool)) and len(str(new)) <= 40:  # noqa: PLR2004  # fits a subject
        return f"Set {section}.{name}.{only} to {new}"
    return f"Change {section}.{name}: {keys}"


def _answer(asked: _Asked, loaded: Loaded, commit: Commit | None, value: Any) -> Response:
    tag = tag_of(value) if value is not GONE else None
    body = {
        **asked.outcome.told(loaded, commit),
        "tag": tag,
        "value": value if value is not GONE else None,
    }
    return JSONResponse(body, headers={"etag": quoted(tag)} if tag is not None and not asked.dry else None)


def _refusal(error: Exception) -> Refused:
    """Why a change was not made, as the API says no."""
    if isinstance(error, Stale):
        there = error.now is not GONE
        extra = {"tag": tag_of(error.now) if there else None, "current": error.now if there else None}
        message = f"{error}: look at what it is now (`current`), and try again with its tag"
        return Refused(412, "Changed", message, field="If-Match", extra=extra)
    if isinstance(error, NotThere):
        section, *name = error.route
        return no_such(section.removesuffix("s"), ".".join(name), error.names)
    if isinstance(error, NotEditable):
        return Refused(409, "NotEditable", str(error), field=error.problem.field or None)
    if isinstance(error, SeveralFiles):
        names = [FilePath(name).name for name in error.names]
        return Refused(409, "SeveralFiles", f"{error}; put one of them with `file`", field="file", allowed=names)
    if isinstance(error, DirtyFiles):
        message = f"{error}, or say with If-Match (a tag, or *) that you have seen it"
        return Refused(409, "DirtyFiles", message, field="If-Match")
    return Refused(503, "GitFailed", str(error))
