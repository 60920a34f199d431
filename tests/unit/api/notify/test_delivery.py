"""Letters to a real server on loopback: the exact bytes of each form, what is tried again, and what is never said."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.notify import notifier as notifier_module
from api.notify import outbox as outbox_module
from api.notify.episodes import Notice
from api.notify.notifier import Notifier
from api.notify.troubles import Look, Trouble
from state.journal import Journal
from state.secrets import Secrets
from tests.unit.api.conftest import DESIRED, Stage
from tests.unit.api.notify.listener import Listener, listening

SERVES_NOT = Trouble(
    subject="workload/echo", reason="NotServing", title="echo does not serve", message="its port is <closed> & gone",
    advice="sparkkeep why echo",
)  # fmt: skip


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(notifier_module, "EVERY", 0.05)


def declared(listener: Listener, kind: str = "json", **more: str) -> str:
    said = "".join(f", {key}: {value}" for key, value in more.items())
    return f"{{name: {kind}, kind: {kind}, url: 'http://127.0.0.1:{listener.port}/hush/{kind}'{said}}}"


@asynccontextmanager
async def telling(
    stage: Stage, *notifications: str, secret: Callable[[str], str] | None = None
) -> AsyncIterator[Notifier]:
    await stage.rewrite(DESIRED + f"settings: {{notifications: [{', '.join(notifications)}]}}\n")
    context = stage.context
    made = Notifier(context.loop, context.status, secret=secret or (lambda name: name), rng=random.Random(1))
    await made.follow_settings()
    context.notifier = made
    try:
        yield made
    finally:
        await made.__aexit__()


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def notice(state: Any = "firing", trouble: Trouble = SERVES_NOT, lasted: float = 185.0) -> Notice:
    return Notice(state=state, trouble=trouble, since=1000.0, at=1000.0 + lasted)


def headers_of(request: tuple[str, dict[str, str], bytes]) -> dict[str, str]:
    return {name: value for name, value in request[1].items() if name in {"title", "priority", "tags", "content-type"}}


async def test_the_three_forms_to_the_byte(stage: Stage, listener: Listener) -> None:
    async with telling(stage, *(declared(listener, kind) for kind in ("json", "slack", "ntfy"))) as teller:
        for outbox in teller.outboxes.values():
            await outbox.try_once((notice(),))
    by_json, by_slack, by_ntfy = listener.requests
    assert by_json[0] == "POST /hush/json HTTP/1.1"
    assert json.loads(by_json[2]) == {
        "notification": "json",
        "title": "echo does not serve",
        "text": "its port is <closed> & gone.\nIt has been so for 3m5s.\nWhat to do: sparkkeep why echo",
        "notices": [
            {
                "state": "firing",
                "topic": "workload",
                "subject": "workload/echo",
                "reason": "NotServing",
                "title": "echo does not serve",
                "message": "its port is <closed> & gone",
                "advice": "sparkkeep why echo",
                "since": 1000.0,
                "at": 1185.0,
            }
        ],
    }
    assert headers_of(by_json) == {"content-type": "application/json"}
    assert by_slack[2] == (
        b'{"text": "*echo does not serve*\\nits port is &lt;closed&gt; &amp; gone.\\nIt has been so for 3m5s.'
        b'\\nWhat to do: sparkkeep why echo"}'
    )
    assert headers_of(by_slack) == {"content-type": "application/json"}
    assert by_ntfy[2] == b"its port is <closed> & gone.\nIt has been so for 3m5s.\nWhat to do: sparkkeep why echo"
    assert headers_of(by_ntfy) == {
        "content-type": "text/plain; charset=utf-8",
        "title": "echo does not serve",
        "priority": "high",
        "tags": "warning",
    }
    assert all(request[1]["user-agent"].startswith("sparkkeep/") for request in listener.requests)


async def test_the_end_the_reminder_and_many_at_once(stage: Stage, listener: Listener) -> None:
    async with telling(stage, declared(listener, "ntfy")) as teller:
        outbox = teller.outboxes["ntfy"]
        await outbox.try_once((notice("resolved"),))
        await outbox.try_once((notice("reminder", lasted=90_000.0),))
        odd = Trouble(subject="s", reason="NotServing", title="ünder\r\nX-Bad: 1", message="é" * 4000, advice="")
        await outbox.try_once((notice(), notice("resolved"), *(notice(trouble=odd),) * 30))
        await outbox.try_once((notice(trouble=odd),))
    over, still, many, strange = listener.requests
    assert (over[1]["title"], over[1]["priority"], over[1]["tags"]) == (
        "Resolved: echo does not serve",
        "low",
        "white_check_mark",
    )
    assert over[2] == b"It is over, after 3m5s."
    assert (still[1]["title"], still[1]["priority"]) == ("Still: echo does not serve", "default")
    assert (many[1]["title"], many[1]["priority"]) == ("31 things are wrong, 1 things are over", "high")
    assert len(many[2]) <= 4000
    many[2].decode()
    assert (strange[1]["title"], strange[1].get("x-bad")) == ("?nder??X-Bad: 1", None)


async def test_what_may_pass_is_tried_again_and_failure_is_one_event(stage: Stage, listener: Listener) -> None:
    listener.answers = ["503 Busy", "429 Slow", "500 Oh", "200 OK"]
    async with telling(stage, declared(listener)) as teller:
        outbox = teller.outboxes["json"]
        outbox.put((notice(),))
        await until(lambda: outbox.record.delivered_at)
        assert [request[2] for request in listener.requests] == [listener.requests[0][2]] * 4
        listener.answers = ["404 None", "200 OK"]
        outbox.put((notice(),))
        outbox.put((notice("reminder"),))
        await until(lambda: len(listener.requests) == 6)
        await until(lambda: not outbox.record.failing)
    events = [e.event for e in await stage.context.journal.events() if e.event.name == "notification json"]
    told = [(e.type, e.reason, e.message) for e in events]
    host = f"127.0.0.1:{listener.port}"
    assert ("Warning", "NotificationFailed", f"{host} answered 503; what it should have told is tried again") in told
    assert [kind for kind, _, _ in told].count("Warning") == 2
    assert not any("/hush" in message or "secret-ok" in message for _, _, message in told)


async def test_a_redirect_is_not_followed_and_a_deaf_server_times_out(
    stage: Stage, listener: Listener, monkeypatch: pytest.MonkeyPatch, http: httpx2.AsyncClient
) -> None:
    async with telling(stage, declared(listener)):
        listener.answers = ["302 Found"]
        answer = await http.post("/api/notifications/json/test")
        assert (answer.status_code, answer.json()["reason"]) == (502, "NotDelivered")
        assert answer.json()["message"] == f"127.0.0.1:{listener.port} answered 302 (redirects are not followed)"
        assert len(listener.requests) == 1
        listener.mute = True
        with monkeypatch.context() as patience:  # for this alone: the others may take their time
            patience.setattr(outbox_module, "TIMEOUT", 0.2)
            answer = await http.post("/api/notifications/json/test")
        assert answer.json()["message"] == f"127.0.0.1:{listener.port} did not answer within 0.2 s"
        listener.mute, listener.answers = False, ["200 OK"]
        assert (await http.post("/api/notifications/json/test")).json() == {"name": "json", "delivered": True}
        assert (await http.post("/api/notifications/jsn/test")).json()["allowed"] == ["json"]
        (shown,) = (await http.get("/api/notifications")).json()["notifications"]
        assert (shown["address"], shown["failing"]) == (f"127.0.0.1:{listener.port}", False)
        assert shown["deliveredAt"] >= shown["failedAt"]
        assert json.loads(listener.requests[-1][2])["notices"][0]["topic"] == "test"


async def test_an_address_that_is_a_secret_is_nowhere_to_be_read(
    stage: Stage, listener: Listener, tmp_path: Path, caplog: pytest.LogCaptureFixture, http: httpx2.AsyncClient
) -> None:
    caplog.set_level(logging.DEBUG)
    kept = Secrets(tmp_path / "secrets")
    async with telling(stage, "{name: chat, kind: slack, url: {secret: slack-url}}", secret=kept.get):
        answer = await http.post("/api/notifications/chat/test")
        assert "there is no secret slack-url: `sparkkeep secret set slack-url`" in answer.json()["message"]
        kept.set("slack-url", "ftp://c4nary.lan/c4nary")
        answer = await http.post("/api/notifications/chat/test")
        assert answer.json()["message"] == "the secret slack-url holds no http or https address"
        kept.set("slack-url", f"http://127.0.0.1:{listener.port}/c4nary/path")
        assert (await http.post("/api/notifications/chat/test")).status_code == 200
        listener.answers = ["500 Oh"]
        assert (await http.post("/api/notifications/chat/test")).status_code == 502
        shown = (await http.get("/api/notifications")).text
    assert listener.requests[0][0] == "POST /c4nary/path HTTP/1.1"
    assert '"address":"the secret slack-url"' in shown
    events = [e.event.message for e in await stage.context.journal.events()]
    assert not [text for text in (shown, caplog.text, *events) if "c4nary" in text]


async def test_the_queue_is_bounded_and_closing_waits_for_nobody(stage: Stage, listener: Listener) -> None:
    listener.mute = True
    async with telling(stage, declared(listener)) as teller:
        outbox = teller.outboxes["json"]
        for _ in range(outbox_module.MOST + 50):
            outbox.put((notice(),))
        assert outbox.waiting == outbox_module.MOST
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("notify")]


# From what is wrong to who is told


def look(*bad: Trouble) -> Look:
    return Look({each.key: each for each in bad})


async def test_a_restart_tells_nothing_twice_and_forgets_no_end(stage: Stage, listener: Listener) -> None:
    only = declared(listener, after="0")
    async with telling(stage, only) as first:
        first.tell(look(SERVES_NOT))
        await until(stage.context.journal.told)
    async with telling(stage, only) as second:
        second.tell(look(SERVES_NOT))
        second.tell(Look({}, frozenset({"workload/echo"})))
        await asyncio.sleep(0.1)
        assert len(listener.requests) == 1
        second.tell(look())
        await until(lambda: len(listener.requests) == 2)
        await until(lambda: not stage.context.journal.told())
    states = [json.loads(body)["notices"][0]["state"] for _, _, body in listener.requests]
    assert states == ["firing", "resolved"]


async def test_what_was_told_outlives_the_process(tmp_path: Path) -> None:
    from state.journal import Told

    kept = Told(notification="n", subject="spark/s", reason="SparkUnknown", since=1.0, at=2.0, title="t")
    journal = Journal(tmp_path / "journal")
    journal.note_told(kept)
    journal.note_told(Told(notification="n", subject="x", reason="y", since=1.0, at=2.0, title="t"))
    journal.forget_told("n", "x", "y")
    journal.close()
    again = Journal(tmp_path / "journal")
    assert again.told() == (kept,)
    again.close()


async def test_the_end_of_what_never_arrived_is_not_told(stage: Stage, listener: Listener) -> None:
    listener.answers = ["404 None"]
    async with telling(stage, declared(listener, after="0")) as teller:
        teller.tell(look(SERVES_NOT))
        teller.tell(look())  # before the first was given up
        await until(lambda: teller.outboxes["json"].waiting == 0)
        teller.tell(look(SERVES_NOT))
        await until(lambda: teller.outboxes["json"].waiting == 0)
        teller.tell(look())
        await asyncio.sleep(0.05)
    assert len(listener.requests) == 2
    assert stage.context.journal.told() == ()


async def test_many_at_once_are_one_letter(stage: Stage, listener: Listener) -> None:
    many = [
        Trouble(subject=f"workload/w{n}", reason="NotServing", title="t", message="m", advice="a") for n in range(5)
    ]
    async with telling(stage, declared(listener, after="0")) as teller:
        teller.tell(look(*many))
        await until(lambda: len(stage.context.journal.told()) == 5)
    assert len(listener.requests) == 1
    assert len(json.loads(listener.requests[0][2])["notices"]) == 5


async def test_a_spark_that_is_lost_and_found_is_told_by_the_task_itself(stage: Stage, listener: Listener) -> None:
    """From the cable to the letter, and who is declared no more hears of nothing."""
    context = stage.context
    await stage.rewrite(DESIRED + f"settings: {{notifications: [{declared(listener, after='50ms', on='[spark]')}]}}\n")
    async with Notifier(context.loop, context.status, secret=str, rng=random.Random(1)) as teller:
        stage.sparks["s2"].down = "its cable is out"
        context.loop.hurry("s2")
        await until(lambda: listener.requests)
        said = json.loads(listener.requests[0][2])
        assert said["title"] == "s2 does not answer"
        assert said["notices"][0]["message"] == "its cable is out. Nothing on it is touched until it is back"
        stage.sparks["s2"].down = ""
        context.loop.hurry("s2")
        await until(lambda: len(listener.requests) == 2)
        assert json.loads(listener.requests[1][2])["title"] == "Resolved: s2 does not answer"
        await stage.rewrite(DESIRED)
        await until(lambda: not teller.outboxes)
    assert len(listener.requests) == 2
