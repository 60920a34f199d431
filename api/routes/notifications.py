"""Who is told when something is wrong and lasts, how that went, and a test of each address."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from api.context import Ctx
from api.errors import Refused, answers, no_such
from api.notify.notifier import Notifier
from api.notify.outbox import Outbox, Undelivered
from api.schemas.base import answer
from api.schemas.notifications import NotificationsShape, Tested
from state.notifications import host_of
from state.recipes import SecretRef

router = APIRouter(prefix="/api/notifications", tags=["notifications"])

Name = Annotated[str, Path(max_length=200, description="a notification", examples=["phone"])]
EXAMPLE = {
    "notifications": [
        {
            "name": "phone",
            "kind": "ntfy",
            "address": "ntfy.lan",
            "after": 120.0,
            "on": ["workload", "spark"],
            "deliveredAt": 1760000000.0,
            "failedAt": None,
            "failure": "",
            "failing": False,
            "waiting": 0,
        }
    ]
}


def _notifier(context: Ctx) -> Notifier:
    if context.notifier is None:
        raise Refused(503, "NoNotifications", "this server tells nobody")
    return context.notifier


Teller = Annotated[Notifier, Depends(_notifier)]


@router.get(
    "", summary="Who is told, and how that went", responses=answer(NotificationsShape, example=EXAMPLE) | answers(503)
)
async def notifications(teller: Teller) -> dict[str, Any]:
    """Each of `settings.notifications`, with its last delivery and its last failure, and how many messages wait. Of an
    address only the host is shown, or the name of the secret that it is.
    """  # noqa: D205
    await teller.follow_settings()
    return {"notifications": [_shown(outbox) for _, outbox in sorted(teller.outboxes.items())]}


@router.post("/{name}/test", summary="Send a test", responses=answer(Tested) | answers(404, 502, 503))
async def test(teller: Teller, name: Name) -> dict[str, Any]:
    """Send one message now, past those that wait, and say whether it was taken: 502 with the reason if not."""
    await teller.follow_settings()
    if name not in teller.outboxes:
        raise no_such("notification", name, teller.outboxes)
    try:
        await teller.test(name)
    except Undelivered as failed:
        raise Refused(502, "NotDelivered", str(failed), field="name") from None
    return {"name": name, "delivered": True}


def _shown(outbox: Outbox) -> dict[str, Any]:
    to, record = outbox.to, outbox.record
    return {
        "name": to.name,
        "kind": to.kind,
        "address": f"the secret {to.url.secret}" if isinstance(to.url, SecretRef) else host_of(to.url),
        "after": to.after,
        "on": list(to.on),
        "deliveredAt": record.delivered_at,
        "failedAt": record.failed_at,
        "failure": record.failure,
        "failing": record.failing,
        "waiting": outbox.waiting,
    }
