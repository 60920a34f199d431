"""Secrets by name: set, forgotten, and what they are for. A value goes in, and never comes out.

They are the files of `state.secrets`, the same that `sparkkeep secret` writes: apart from the desired state and from
git. What is set here stands in no answer, log or event; that it was set, and by whom, does.
"""

from __future__ import annotations

import asyncio
import logging
import unicodedata
from collections import defaultdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from api.context import Actor, Context, Ctx
from api.errors import Refused, answers, no_such
from api.schemas.base import answer, link
from api.schemas.secrets import SecretForgotten, SecretShape, SecretsShape
from reconciler.weights.keeper import HUB_TOKEN
from state.fields import Name as Word
from state.recipes import SecretRef
from state.secrets import MAX_VALUE, SecretRefused, Secrets

log = logging.getLogger("sparkkeep.api")
router = APIRouter(prefix="/api/secrets", tags=["secrets"])

Name = Annotated[Word, Path(description="a secret", examples=["hf"])]
FORGET = {"forget": link("forget_api_secrets__name__delete", name="$request.path.name")}
EXAMPLE = {"secrets": {"hf": {"since": 1760000000.0, "usedBy": ["qwen3-8b (HF_TOKEN)"], "problem": ""}}}


class SecretRequest(BaseModel):
    """What the secret shall hold."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    value: str = Field(
        repr=False,
        min_length=1,
        max_length=MAX_VALUE,
        description="one line of text",
        examples=["hf_0123456789"],
        json_schema_extra={"writeOnly": True, "format": "password"},
    )


def _secrets(context: Ctx) -> Secrets:
    if context.secrets is None:
        raise Refused(503, "NoSecrets", "this server keeps no secrets")
    return context.secrets


Kept = Annotated[Secrets, Depends(_secrets)]


@router.get(
    "", summary="Their names, and what they are for", responses=answer(SecretsShape, example=EXAMPLE) | answers(503)
)
async def names(context: Ctx, kept: Kept) -> dict[str, Any]:
    """Every secret that is set or that a workload names: since when, what uses it, and what keeps it from being
    used. Values are never shown.
    """  # noqa: D205
    used = _uses(context)
    every = {*await asyncio.to_thread(kept.names), *(secret for secret, _ in _by_workloads(context))}
    return {"secrets": {name: await asyncio.to_thread(_shown, kept, name, used[name]) for name in sorted(every)}}


@router.put("/{name}", summary="Set one", responses=answer(SecretShape, links=FORGET) | answers(503))
async def put(context: Ctx, kept: Kept, actor: Actor, name: Name, request: SecretRequest) -> dict[str, Any]:
    """Write it, whole or not at all, to a file of mode 0600. What was refused for want of it is tried again; what runs
    goes on with what it was made with.
    """  # noqa: D205
    value = _one_line(request.value)
    try:
        await asyncio.to_thread(kept.set, name, value)
    except SecretRefused as refused:
        raise Refused(503, "NotWritten", str(refused), field="name") from None
    log.info("the secret %s was set by %s", name, actor)
    context.loop.wake_all()
    return await asyncio.to_thread(_shown, kept, name, _uses(context)[name])


@router.delete("/{name}", summary="Forget one", responses=answer(SecretForgotten) | answers(404, 503))
async def forget(kept: Kept, actor: Actor, name: Name) -> dict[str, Any]:
    """Remove its file. What runs with it goes on."""
    try:
        gone = await asyncio.to_thread(kept.remove, name)
    except SecretRefused as refused:
        raise Refused(503, "NotRemoved", str(refused), field="name") from None
    if not gone:
        raise no_such("secret", name, await asyncio.to_thread(kept.names))
    log.info("the secret %s was removed by %s", name, actor)
    return {"name": name, "removed": True}


def _one_line(value: str) -> str:
    """The value without the newline at its end. Raises Refused, in words that hold nothing of it."""
    line = value.removesuffix("\n").removesuffix("\r")
    odd = any(unicodedata.category(mark) in {"Cc", "Cs"} for mark in line)  # control characters, halves of characters
    if odd or not 0 < len(line.encode("utf-8", "replace")) <= MAX_VALUE:
        message = f"a secret is one line of text, of at most {MAX_VALUE} bytes, without control characters"
        raise Refused(422, "InvalidRequest", message, field="value")
    return line


def _by_workloads(context: Context) -> set[tuple[str, str]]:
    """Secret and use: as declared, and as launched, since an engine may want one that nobody wrote down."""
    declared = {
        (entry.secret, f"{name} ({variable})")
        for name, declaration in context.loop.store.current.loaded.resolved.items()
        for variable, entry in declaration.recipe.env.items()
        if isinstance(entry, SecretRef)
    }
    return declared | {
        (secret, f"{instance.workload} ({variable})")
        for instances in context.loop.target().instances.values()
        for instance in instances
        for variable, secret in instance.spec.secrets
    }


def _uses(context: Context) -> defaultdict[str, list[str]]:
    """What each is for, by its name: workloads, registries, notifications, keys of apps, and the hub of models."""
    settings = context.loop.store.current.loaded.desired.settings
    logins = {(login.secret, f"images of {host}") for host, login in settings.registries.items()}
    logins |= {(key.secret, f"key of {key.name}") for key in settings.proxy.keys}
    logins |= {(to.secret, f"redacted requests to {to.name}") for to in settings.redaction.targets if to.secret}
    logins |= {
        (each.url.secret, f"notification {each.name}")
        for each in settings.notifications
        if isinstance(each.url, SecretRef)
    }
    uses: defaultdict[str, list[str]] = defaultdict(list)
    for secret, use in sorted({*_by_workloads(context), *logins, (HUB_TOKEN, "fetching weights")}):
        uses[secret].append(use)
    return uses


def _shown(kept: Secrets, name: str, used_by: list[str]) -> dict[str, Any]:
    try:
        since: float | None = (kept.folder / name).stat().st_mtime
    except OSError:
        since = None
    try:
        kept.get(name)
    except SecretRefused as refused:
        return {"since": since, "usedBy": used_by, "problem": str(refused)}
    return {"since": since, "usedBy": used_by, "problem": ""}
