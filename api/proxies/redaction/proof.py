"""The self-test: a known request through all that a real one passes, there and back."""

from __future__ import annotations

from typing import Any, Final

from api.proxies.calls import Refused
from api.proxies.dialects.json_text import dumps, loads
from api.proxies.dialects.names import CHAT, Dialect
from api.proxies.redaction.gateway import Gateway
from api.proxies.redaction.masking import Policy, read
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.streams import RestoringStream, restored_body

KNOWN: Final = {
    "EMAIL": "jane.roe@example.org",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "CARD": "4111 1111 1111 1111",
}
"""Nobody's: an example's domain, and the numbers that everybody tests with."""
_SAID: Final = f"Write to {KNOWN['EMAIL']} about the account {KNOWN['IBAN']} and the card {KNOWN['CARD']}."
_ARGUMENTS: Final = dumps({"to": KNOWN["EMAIL"], "card": KNOWN["CARD"]}).decode()


async def prove(gateway: Gateway) -> dict[str, int]:
    """What was found, by type. Raises Refused where something came through, or did not come back."""
    call = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": _ARGUMENTS}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": _SAID},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": f"sent to {KNOWN['EMAIL']}"},
    ]
    asked = await read(dumps({"model": "selftest", "messages": messages}))
    conversation = Conversation()
    policy = Policy(where="nowhere", images=False, known=lambda model: model == "selftest", hint="never")
    made = await gateway.body(CHAT, asked, conversation, policy)
    through = sorted(kind for kind, value in KNOWN.items() if value.encode() in made.body)
    if through:
        message = f"what is private came through a masked request: {', '.join(through)}"
        raise Refused(503, "NotMasking", message)
    said = loads(made.body)["messages"][0]["content"]
    _back(conversation, said)
    return dict(made.counts)


def _back(conversation: Conversation, said: str) -> None:
    """Whole, and streamed a character at a time."""
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    whole = loads(restored_body(Dialect.OPENAI, conversation, dumps({"choices": [choice]})))
    stream = RestoringStream(Dialect.OPENAI, conversation)
    came = (
        b"".join(stream.feed(_event(character)) for character in said) + stream.feed(b"data: [DONE]\n\n") + stream.end()
    )
    events = [loads(line[6:]) for line in came.splitlines() if line.startswith(b"data: {")]
    streamed = "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])
    if whole["choices"][0]["message"]["content"] != _SAID or streamed != _SAID:
        raise Refused(503, "NotRestoring", "what was masked did not come back as it was")


def _event(text: str) -> bytes:
    return b"data: %b\n\n" % dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
