"""The history of the desired state: every change as a commit, what it changed, and the way back."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api.author import Author
from api.candidate import Outcome
from api.context import Ctx, Dry
from api.errors import InvalidDocument, Refused, answers
from api.routes.desired import Kept
from api.schemas.base import answer
from api.schemas.desired import ChangedShape
from api.schemas.history import CheckoutShape, DiffShape, HistoryShape
from api.versioned import checkout_json
from state.follow import Follow
from state.git import GitFailed
from state.repository_commit import Commit
from state.repository_webhook import verify_webhook
from state.secrets import SecretRefused

router = APIRouter(tags=["history"])

WEBHOOK: Final = "git-webhook"  # the secret that a git server signs with
PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(~[0-9]{1,4})?"

Revision = Annotated[
    str, Path(pattern=f"^{PATTERN}$", description="a commit, or what git calls one", examples=["5f2b9c0"])
]


class RollbackRequest(BaseModel):
    """Where to go back to."""

    model_config = ConfigDict(extra="forbid")

    revision: str = Field(pattern=f"^{PATTERN}$", description="a commit of the history", examples=["5f2b9c0"])
    reason: str = Field(default="", max_length=500, description="why, for the commit")


def _follow(context: Ctx) -> Follow:
    if context.follow is None:
        raise Refused(503, "NoHistory", f"there is no history here: {context.no_desk}")
    return context.follow


Following = Annotated[Follow, Depends(_follow)]


@router.get("/api/history", summary="Every change", responses=answer(HistoryShape) | answers(404, 503))
async def history(
    kept: Kept,
    follow: Following,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[
        str | None, Query(pattern=f"^{PATTERN}$", description="only what this commit builds on, for paging")
    ] = None,
) -> dict[str, Any]:
    """Who changed what and why, the newest first; and whether files were edited by hand since."""
    checkout = await follow.look()
    try:
        found = await kept.repository.history(limit, before)
    except GitFailed as failed:
        raise _unknown(failed, "before") from failed
    return {"commits": [_commit(each) for each in found], "checkout": checkout_json(checkout)}


@router.get("/api/history/{revision}/diff", summary="What has changed", responses=answer(DiffShape) | answers(404, 503))
async def diff(
    kept: Kept,
    revision: Revision,
    to: Annotated[str | None, Query(pattern=f"^{PATTERN}$", description="another commit")] = None,
) -> dict[str, Any]:
    """Since that commit: until another, or until the files as they are now, hand edits included."""
    try:
        return {"revision": revision, "to": to, "diff": await kept.repository.diff(revision, to)}
    except GitFailed as failed:
        raise _unknown(failed, "revision") from failed


@router.post(
    "/api/rollback",
    summary="Go back to an earlier state",
    responses=answer(ChangedShape) | answer(InvalidDocument, 422) | answers(404, 409, 503),
)
async def rollback(
    context: Ctx, kept: Kept, author: Author, request: RollbackRequest, dry: Dry = False
) -> dict[str, Any]:
    """The desired state as it was in that commit, as a new commit; nothing is taken out of the history. Refused while
    a file that would change was edited by hand and not committed.
    """  # noqa: D205
    try:
        loaded = await kept.judge_revision(request.revision)
    except GitFailed as failed:
        raise _unknown(failed, "revision") from failed
    outcome, commit = Outcome(context=context, dry=dry), None
    try:
        if dry:
            await outcome.foresee(loaded)
        else:
            commit = await kept.rollback(request.revision, actor=author, reason=request.reason, foresee=outcome.foresee)
    except GitFailed as failed:
        raise Refused(409, "RollbackRefused", str(failed), field="revision") from failed
    return {**outcome.told(loaded, commit), "tag": None, "value": None}


@router.post("/api/sync", summary="Sync with the remote now", responses=answer(CheckoutShape) | answers(409, 503))
async def sync(follow: Following) -> dict[str, Any]:
    """Fetch, bring together, push. A conflict is no error of this call: it stands in the answer."""
    if await follow.sync() is None:
        raise Refused(409, "NoRemote", "no remote is followed; start the server with --git-remote NAME")
    return checkout_json(await follow.look())


@router.post(
    "/api/hooks/git",
    summary="A git server says that something was pushed",
    status_code=202,
    responses={202: {"description": "the remote will be asked"}, **answers(403, 409, 503)},
)
async def webhook(
    context: Ctx,
    follow: Following,
    request: Request,
    x_hub_signature_256: Annotated[str | None, Header(max_length=200)] = None,
    x_gitea_signature: Annotated[str | None, Header(max_length=200)] = None,
    x_forgejo_signature: Annotated[str | None, Header(max_length=200)] = None,
    x_gitlab_token: Annotated[str | None, Header(max_length=1000)] = None,
) -> dict[str, Any]:
    """Signed as GitHub, Gitea, Forgejo or GitLab do it, with the secret `git-webhook`. The body is only signed for:
    what there is to fetch is seen by fetching.
    """  # noqa: D205
    del x_hub_signature_256, x_gitea_signature, x_forgejo_signature, x_gitlab_token  # named for the documentation
    if follow.remote is None:
        raise Refused(409, "NoRemote", "no remote is followed; start the server with --git-remote NAME")
    try:
        secret = context.secrets.get(WEBHOOK) if context.secrets is not None else ""
    except SecretRefused as refused:
        raise Refused(503, "NoSecret", f"webhooks are not taken: {refused}") from None
    if not secret or not verify_webhook(secret.encode(), await request.body(), request.headers):
        raise Refused(403, "BadSignature", f"not signed with the secret {WEBHOOK}")
    follow.poke()
    return {"accepted": True}


def _commit(commit: Commit) -> dict[str, Any]:
    return {
        "revision": commit.revision,
        "time": commit.time,
        "author": commit.author,
        "subject": commit.subject,
        "reason": commit.reason,
        "files": list(commit.files),
    }


def _unknown(failed: GitFailed, field: str) -> Refused:
    return Refused(404, "NoSuchRevision", str(failed), field=field)
