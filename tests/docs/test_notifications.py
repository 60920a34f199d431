"""What docs/NOTIFICATIONS.md says is sent is what arrives."""

from __future__ import annotations

import json

import pytest

from tests.docs.conftest import Stage
from tests.docs.pages import every_block

pytestmark = pytest.mark.xdist_group("docs")


def sent(stage: Stage, name: str) -> tuple[dict[str, str], bytes]:
    """Headers and body that reached the listener when a test was asked for."""
    before = len(stage.listener.requests)
    stage.ask("POST", f"/api/notifications/{name}/test")
    [(line, headers, body)] = stage.listener.requests[before:]
    assert line == f"POST /{name} HTTP/1.1"
    return headers, body


@pytest.fixture
def told(stage: Stage) -> Stage:
    stage.put_right()
    return stage


def test_json_has_the_keys_of_the_page(told: Stage) -> None:
    (block,) = (b for b in every_block() if b.page == "docs/NOTIFICATIONS.md" and b.language == "json")
    page, body = json.loads(block.text), json.loads(sent(told, "hook")[1])
    assert {*body} == {*page}
    assert {*body["notices"][0]} == {*page["notices"][0]}
    assert (body["notification"], body["notices"][0]["state"]) == ("hook", "test")


def test_slack_gets_one_text(told: Stage) -> None:
    body = json.loads(sent(told, "team")[1])
    assert {*body} == {"text"}
    assert body["text"].startswith("*")


def test_ntfy_gets_headers(told: Stage) -> None:
    headers, body = sent(told, "phone")
    assert headers["title"]
    assert (headers["priority"], headers["tags"]) == ("default", "wrench")
    assert body
