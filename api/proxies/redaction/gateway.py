"""The gateway's one place where it is decided what becomes of a request's words: masked and sent, or refused.

Nothing goes on that was not looked at. What is in doubt is refused, with the field that is to blame.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from api.proxies.calls import Call, Refused, Routing
from api.proxies.dialects.json_text import dumps, loads
from api.proxies.dialects.names import MESSAGES, RESPONSES
from api.proxies.exchange import Client
from api.proxies.gate import Place
from api.proxies.head import Head
from api.proxies.redaction import masking
from api.proxies.redaction.clouds import Clouds
from api.proxies.redaction.fields import TABLES
from api.proxies.redaction.finds import Detector, DetectorBusy, DetectorDown, Find
from api.proxies.redaction.masking import Asked, Masked, Policy, Putting, Span
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.redacting import Redacting
from api.proxies.redaction.sessions import Sessions
from api.proxies.wire import Whole, Wire
from state.redaction import CloudTarget, Redaction

log = logging.getLogger("sparkkeep.proxies")

LONGEST_NAME: Final = 200
"""Characters of a session's name."""
INSTALL: Final = "install `sparkkeep[redaction]` beside sparkkeep, and start it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A request that may go on. `routing`: where to, if not to one of our own. `lines`: what its answer says of it.

    `structured`: the text of the answer is to be JSON.
    """

    body: bytes
    conversation: Conversation
    lines: bytes
    routing: Routing | None = None
    structured: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)


class Gateway:
    """Of one server (`wire.Masks`). `detector`: None where its packages are not installed."""

    def __init__(
        self,
        settings: Callable[[], Redaction],
        detector: Detector | None,
        sessions: Sessions,
        clouds: Clouds,
        *,
        at_home: Callable[[str], bool],
    ) -> None:
        """`at_home`: whether one of our own models has this name."""
        self._settings = settings
        self._detector = detector
        self.sessions = sessions
        self._clouds = clouds
        self._at_home = at_home

    def exchange(self, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> Redacting:
        """The life of one request."""
        return Redacting(self, client, wire, head, place, said)

    # Whether anything is masked here.

    def ready(self) -> Detector:
        """Who detects. Raises Refused where nobody does."""
        if not self._settings().enabled:
            message = "the redaction gateway is switched off (settings.redaction.enabled)"
            raise Refused(404, "NoRedaction", message)
        if self._detector is None:
            message = f"what the redaction gateway needs is not installed: {INSTALL}"
            raise Refused(503, "RedactionNotInstalled", message)
        return self._detector

    # Requests.

    async def masked(self, call: Call, body: bytes) -> Made:
        """One of the data path. Raises Refused."""
        self.ready()
        if call.path not in TABLES:
            message = f"nothing is masked at {call.under}{call.path}, so nothing passes there"
            raise Refused(404, "NotRedacted", message, allowed=[call.under + path for path in TABLES])
        if call.method != "POST":
            raise Refused(405, "MethodNotAllowed", f"{call.path} is asked with POST", allowed=["POST"])
        asked = await masking.read(body)
        target = self.target(asked.said.get("model"))
        routing = None if target is None else self._clouds.asked(*target, call.path)
        policy = self.policy(target[0] if target is not None else None, named=bool(call.session))
        name = session_name(call.session)
        async with self.sessions.using(call.who, name) as conversation:
            try:
                made = await self.body(call.path, asked, conversation, policy)
                said = ", ".join(f"{kind}={count}" for kind, count in made.counts.items()) or "none"
            except Refused as refused:
                if refused.reason != DOWN or target is not None or self._settings().on_detector_down != "pass":
                    raise
                log.warning("nothing is detected, and a request to a model of ours passes as it came: %s", refused)
                made, said = Masked(body=dumps(asked.said), counts={}), "off"
        lines = b"sparkkeep-redacted: %b\r\n" % said.encode("ascii", "replace")
        if name and name.isascii() and name.isprintable():
            lines += b"sparkkeep-session: %b\r\n" % name.encode()
        return Made(
            body=made.body,
            conversation=conversation,
            lines=lines,
            routing=routing,
            counts=made.counts,
            structured=structured(call.path, asked.said),
        )

    def target(self, model: object) -> tuple[CloudTarget, str] | None:
        """The service outside that is meant by a model's name, and the name there; None: one of ours."""
        return None if not isinstance(model, str) or self._at_home(model) else self._clouds.named(model)

    def policy(self, target: CloudTarget | None, *, named: bool) -> Policy:
        """What may go to a service outside, or to one of ours."""
        settings = self._settings()
        return Policy(
            where=target.name if target is not None else "our own models (settings.redaction.images)",
            images=(target.images if target is not None else settings.images) == "pass",
            known=lambda model: self._at_home(model) or self._clouds.named(model) is not None,
            named=named,
            hint=settings.hint,
        )

    async def body(self, path: str, asked: Asked, conversation: Conversation, policy: Policy) -> Masked:
        """A whole request of a path of the data path. Raises Refused."""
        return await masking.masked(asked, path, TABLES[path], conversation, self.find, policy)

    async def text(self, text: str, conversation: Conversation) -> tuple[str, list[Span]]:
        """A text alone, masked. Raises Refused."""
        policy = Policy(where="a text", images=False)
        found = await masking.looked_at([("", text)], self.find)
        putting = Putting(policy, found, conversation)
        return putting.text(text, ""), putting.spans

    async def find(self, texts: list[str]) -> list[list[Find]]:
        """What is private in texts. Raises Refused."""
        detector = self.ready()
        try:
            return list(await detector.find(texts))
        except DetectorBusy as busy:
            message = "more is waiting to be looked through than can be at once"
            raise Refused(429, "DetectorBusy", message, retry_after=busy.retry_after) from None
        except DetectorDown as down:
            raise Refused(503, DOWN, f"nothing can be detected, so nothing is sent: {down}", retry_after=5) from None

    # The models.

    def listed(self, answer: Whole) -> bytes:
        """The list of models, with those of services outside."""
        self.ready()
        _, _, body = answer
        said = loads(body)
        if not isinstance(said.get("data"), list):
            return body
        there = {entry.get("id") for entry in said["data"]}
        for model, target in self._clouds.models():
            name = model if model not in there else f"{target}/{model}"
            entry = {"id": name, "object": "model", "created": 0, "owned_by": target, "type": "model"}
            said["data"].append({**entry, "display_name": name, "created_at": "1970-01-01T00:00:00Z"})
            there.add(name)
        return dumps(said)


DOWN: Final = "DetectorDown"
_FORMATS: Final = {RESPONSES: ("text", "format"), MESSAGES: ("output_config", "format")}


def structured(path: str, asked: Mapping[str, Any]) -> bool:
    """Whether the text of the answer shall be JSON."""
    said: Any = asked
    for name in _FORMATS.get(path, ("response_format",)):
        said = said.get(name) if isinstance(said, dict) else None
    return isinstance(said, dict) and said.get("type") in {"json_object", "json_schema"}


def session_name(given: str) -> str:
    """As it may be kept. Raises Refused."""
    if len(given) > LONGEST_NAME:
        raise Refused(
            400, "BadSession", f"a session's name has at most {LONGEST_NAME} characters", field="x-session-id"
        )
    return given
