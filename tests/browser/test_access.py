"""Every page for everybody: axe-core finds nothing, light and dark, wide and narrow; nothing is told by colour alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Desk, Seen, opened

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}
PAGES = {
    "Fleet": "#/",
    "qwen3-8b": "#/workloads/qwen3-8b",
    "spark-1": "#/sparks/spark-1",
    "Plan": "#/plan",
    "Models": "#/models",
    "Requests": "#/requests",
    "Events": "#/events",
    "Checks": "#/checks",
    "History": "#/history",
    "Settings": "#/settings",
}
LOOKS = [*product(("light", "dark"), ((1280, 900), (360, 740)))]
if not os.environ.get("SPARKKEEP_LONG"):
    LOOKS = [LOOKS[0], LOOKS[3]]  # each scheme and each width once; SPARKKEEP_LONG=1 has every pair


@pytest.fixture(scope="module", params=LOOKS, ids=lambda look: f"{look[0]}-{look[1][0]}")
def looked(request: pytest.FixtureRequest, chromium: Browser, desk: Desk) -> Iterator[Page]:
    scheme, (width, height) = request.param
    assert [desk.asks(model) for model in ("qwen3-8b", "qwen3")] == [200, 404]
    with opened(chromium, desk.url, Seen(), color_scheme=scheme, viewport={"width": width, "height": height}) as page:
        page.get_by_text("● live").wait_for()
        yield page


def faults(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{v['id']}: {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found]


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(looked: Page, name: str) -> None:
    looked.evaluate("where => { location.hash = where }", PAGES[name])
    expect(looked.get_by_role("heading", level=1)).to_have_text(name)
    looked.wait_for_timeout(300)
    assert faults(looked) == []
    wide = looked.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "the page scrolls sideways"


def test_axe_finds_nothing_in_an_open_plan(looked: Page) -> None:
    looked.evaluate("location.hash = '#/'")
    looked.get_by_role("button", name="hello runs always: change").click()
    looked.get_by_role("dialog").get_by_role("button", name="never").click()
    expect(looked.get_by_role("dialog")).to_contain_text("stop hello")
    assert faults(looked) == []
    looked.keyboard.press("Escape")


def test_every_chip_has_a_shape_and_a_word(looked: Page) -> None:
    looked.evaluate("location.hash = '#/'")
    expect(looked.get_by_role("heading", level=1)).to_have_text("Fleet")
    chips = looked.locator(".chip").all_text_contents()
    assert len(chips) >= 6
    for chip in chips:
        mark, _, word = chip.partition(" ")
        assert mark in "●◐▲■○", chip
        assert word.strip(), chip


def test_what_changes_is_said_once_to_those_who_listen(looked: Page) -> None:
    """One polite region with the verdict, there before it speaks, and not rewritten while nothing changes."""
    looked.evaluate("location.hash = '#/'")
    region = looked.locator("#verdict[role=status]")
    expect(region).to_contain_text("healthy")
    looked.evaluate(
        "() => { window.said = 0; new MutationObserver(() => said++).observe(verdict, {childList: true, subtree: true}) }"
    )
    looked.wait_for_timeout(2500)
    assert looked.evaluate("said") == 0
