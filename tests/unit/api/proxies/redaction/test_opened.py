"""All of it as the server opens it: the real detector in its process, the real map in its file."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from api.proxies.calls import Call, Refused
from api.proxies.redaction import opened as opening
from api.proxies.redaction.gateway import Gateway
from api.proxies.redaction.opened import opened
from api.proxies.redaction.proof import prove
from api.proxies.redaction.restore import restore
from state.redaction import Redaction

WORDS = "Write to jane.roe@example.org about the account DE89 3704 0044 0532 0130 00."


def gateway(file: Path | None, **settings: object) -> AbstractAsyncContextManager[Gateway]:
    said = Redaction.model_validate(settings)
    return opened(lambda: said, lambda name: name, map_file=file, at_home=lambda _: True)


async def test_a_session_outlives_a_restart_and_lies_sealed(tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer")
    file = tmp_path / "map.sqlite"
    call = Call(method="POST", path="/v1/chat/completions", session="s", who="me", under="/redact")
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": WORDS}]}).encode()
    async with gateway(file) as first:
        assert await prove(first) == {"CARD": 1, "EMAIL": 1, "IBAN": 1}
        made = await first.masked(call, body)
    text = json.loads(made.body)["messages"][0]["content"]
    assert text == "Write to [EMAIL_1] about the account [IBAN_1]."
    assert made.lines == b"sparkkeep-redacted: EMAIL=1, IBAN=1\r\nsparkkeep-session: s\r\n"
    async with gateway(file) as second:
        assert restore(text, await second.sessions.known("me", "s")) == WORDS
        assert restore(text, await second.sessions.known("you", "s")) == text
    lies = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(word in lies for word in (b"jane", b"3704", b"EMAIL"))


async def test_a_map_that_can_not_be_opened_refuses_sessions_only(tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer")
    file = tmp_path / "map.sqlite"
    file.write_bytes(b"this is no map" * 100)
    async with gateway(file) as made:
        with pytest.raises(Refused) as refused:
            await made.sessions.known("me", "s")
        assert (refused.value.status, refused.value.reason) == (503, "NoSessions")
        async with made.sessions.using("me", "") as conversation:
            assert not conversation.issued


async def test_without_its_packages_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_detector", lambda _: None)
    async with gateway(None) as made:
        with pytest.raises(Refused) as refused:
            made.ready()
    assert (refused.value.status, refused.value.reason) == (503, "RedactionNotInstalled")
    assert "sparkkeep[redaction]" in refused.value.message
