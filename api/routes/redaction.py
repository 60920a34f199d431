"""What the redaction gateway would do, a text masked and put back by itself, and proof that masking is on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.context import Ctx
from api.errors import Refused, answers
from api.proxies import calls
from api.proxies.dialects.json_text import loads
from api.proxies.dialects.names import CHAT
from api.proxies.redaction import proof
from api.proxies.redaction.fields import TABLES
from api.proxies.redaction.gateway import LONGEST_NAME, Gateway
from api.proxies.redaction.masking import Asked, Span, counted
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import restore
from api.schemas.base import answer
from api.schemas.redaction import ForgottenShape, PreviewShape, RedactedShape, RestoredShape, SelfTestShape

router = APIRouter(tags=["redaction"])

LONGEST: Final = 2**20
"""Characters of a text."""
Text = Annotated[str, Field(max_length=LONGEST)]
Session = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[\x21-\x7e]+$")]
Named = Annotated[
    str,
    Path(min_length=1, max_length=LONGEST_NAME, pattern=r"^[\x21-\x7e]+$", description="a session"),
]
EXAMPLE: Final = {
    "text": "write to [EMAIL_1]",
    "body": None,
    "spans": [{"start": 9, "end": 25, "type": "EMAIL", "score": 0.95, "placeholder": "[EMAIL_1]", "field": None}],
    "counts": {"EMAIL": 1},
}
REFUSALS: Final = (404, 429, 503)


class PreviewRequest(BaseModel):
    """Either a text, or a whole request as it would be sent to `path`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: Text | None = None
    body: dict[str, Any] | None = None
    path: str = Field(default=CHAT, max_length=100, description="where the body would be sent", examples=list(TABLES))

    @model_validator(mode="after")
    def _one(self) -> PreviewRequest:
        if (self.text is None) == (self.body is None):
            raise ValueError("give either `text` or `body`")
        return self


class RedactRequest(BaseModel):
    """A text. Without a session a new one is made, and named in the answer."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: Text
    session: Session | None = None


class RestoreRequest(BaseModel):
    """A text with placeholders, and the session that they are of."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: Text
    session: Session


def _gateway(context: Ctx) -> Gateway:
    if context.redaction is None:
        raise Refused(503, "NoRedaction", "this server has no redaction gateway")
    return context.redaction


def _owner(context: Ctx, request: Request) -> str:
    """As on the data path: by the key that is shown, or by address. So that nobody puts right what others said."""
    address = request.client.host if request.client is not None else ""
    if context.app_keys is None:
        return address
    try:
        return context.app_keys.who(request.headers.get("x-api-key", ""), address)
    except calls.Refused as refused:
        raise _said(refused) from None


Masks = Annotated[Gateway, Depends(_gateway)]
Owner = Annotated[str, Depends(_owner)]


@router.post(
    "/api/redact/preview",
    summary="What would go on",
    responses=answer(PreviewShape, example=EXAMPLE) | answers(*REFUSALS),
)
async def preview(
    gateway: Masks, request: Annotated[PreviewRequest, Body(examples=[{"text": "write to jane@example.org"}])]
) -> dict[str, Any]:
    """What would be masked in a text, or in a whole request to a model, and what would stand in its place. Nothing is
    sent and nothing is kept. A request that would be refused is refused here too, in the same words.
    """  # noqa: D205
    conversation = Conversation()
    try:
        if request.text is not None:
            text, spans = await gateway.text(request.text, conversation)
            return {"text": text, "body": None, **_spans(spans)}
        if request.path not in TABLES:
            message = f"nothing is masked at {request.path[:100]}"
            raise Refused(404, "NotRedacted", message, field="path", allowed=TABLES)
        asked = Asked(request.body or {}, long=True)
        found = gateway.target(asked.said.get("model"))
        policy = gateway.policy(found[0] if found is not None else None, named=False)
        made = await gateway.body(request.path, asked, conversation, policy)
    except calls.Refused as refused:
        raise _said(refused) from None
    return {"text": None, "body": loads(made.body), **_spans(made.spans)}


@router.post("/api/redact", summary="Mask a text", responses=answer(RedactedShape) | answers(*REFUSALS))
async def redact(
    gateway: Masks,
    owner: Owner,
    request: Annotated[RedactRequest, Body(examples=[{"text": "write to jane@example.org"}])],
) -> dict[str, Any]:
    """Mask a text for a program of your own. What was masked is kept in the session until `settings.redaction` lets it
    be forgotten, and belongs to whoever asks: nobody else can have it put back.
    """  # noqa: D205
    name = request.session or f"redact-{secrets.token_hex(12)}"
    try:
        async with gateway.sessions.using(owner, name) as conversation:
            text, spans = await gateway.text(request.text, conversation)
    except calls.Refused as refused:
        raise _said(refused) from None
    return {"text": text, "session": name, **_spans(spans)}


@router.post("/api/restore", summary="Put a text right", responses=answer(RestoredShape) | answers(*REFUSALS))
async def put_back(
    gateway: Masks,
    owner: Owner,
    request: Annotated[RestoreRequest, Body(examples=[{"text": "I wrote to [EMAIL_1]", "session": "chat-1"}])],
) -> dict[str, Any]:
    """What the placeholders of a session stand for, in their places. Others are left as they are."""
    try:
        gateway.ready()
        conversation = await gateway.sessions.known(owner, request.session)
    except calls.Refused as refused:
        raise _said(refused) from None
    return {"text": restore(request.text, conversation)}


@router.delete(
    "/api/redact/sessions/{name}", summary="Forget a session", responses=answer(ForgottenShape) | answers(404, 429, 503)
)
async def forget(gateway: Masks, owner: Owner, name: Named) -> dict[str, Any]:
    """Delete what was masked in it. Answers under way are still put right; nothing after them is."""
    try:
        gone = await gateway.sessions.forget(owner, name)
    except calls.Refused as refused:
        raise _said(refused) from None
    if not gone:
        raise Refused(404, "NoSuchSession", "no session of yours has this name", field="name")
    return {"session": name, "removed": True}


@router.get(
    "/api/redact/selftest", summary="Whether masking is on", responses=answer(SelfTestShape) | answers(404, 429, 503)
)
async def selftest(gateway: Masks) -> dict[str, Any]:
    """Mask a known request, look whether anything came through, and put an answer right, whole and streamed: 503 with
    the reason if that fails. Nothing is sent.
    """  # noqa: D205
    began = time.monotonic()
    try:
        found = await proof.prove(gateway)
    except calls.Refused as refused:
        raise _said(refused) from None
    return {"masking": True, "found": found, "milliseconds": round(1000 * (time.monotonic() - began), 1)}


def _spans(spans: Sequence[Span]) -> dict[str, Any]:
    """As the API shows them."""
    shown = [span._asdict() for span in spans]
    for span in shown:
        span["field"] = span.pop("place") or None
    return {"spans": shown, "counts": counted(spans)}


def _said(refused: calls.Refused) -> Refused:
    return Refused(refused.status, refused.reason, refused.message, field=refused.field, allowed=refused.allowed)
