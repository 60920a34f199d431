"""What the dashboard weighs: bytes, elements, requests; and that it keeps to them with a fleet of sixteen.

How fast it is depends on the machine: of several loads the best one counts, and is held to a limit that the slowest
machine here keeps with room to spare.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from api.routes.page import PAGE
from tests.aside import aside
from tests.browser.big import Big, big_fleet
from tests.browser.conftest import Desk, Seen, opened

FIRST_LOAD = 45 * 1024
WHOLE = 90 * 1024
NODES = 1200
FIRST_PAINT, VERDICT = 300, 600  # milliseconds
LOADS = 20  # at most: one that is quick enough shows that the page is
LONG_TASK = 50  # milliseconds
LONG = bool(os.environ.get("SPARKKEEP_LONG"))


def test_all_of_it_is_small() -> None:
    assert len(PAGE.index.packed) + sum(len(file.packed) for file in PAGE.files.values()) <= WHOLE


def test_the_first_page_loads_little(chromium: Browser, desk: Desk) -> None:
    sizes: dict[str, int] = {}
    context = chromium.new_context()
    page = context.new_page()

    def weigh(request: Request) -> None:
        if "/ui/" in request.url or request.url == f"{desk.url}/":
            sizes[request.url] = request.sizes()["responseBodySize"]

    page.on("requestfinished", weigh)
    page.goto(desk.url)
    expect(page.locator("#line")).to_contain_text("● live")
    page.wait_for_timeout(500)
    context.close()
    assert f"{desk.url}/" in sizes
    assert len(sizes) > 8
    assert sum(sizes.values()) <= FIRST_LOAD, sizes


def test_a_second_load_asks_only_for_the_page_itself(page: Page, desk: Desk) -> None:
    page.goto("about:blank")
    page.goto(desk.url)
    expect(page.locator("#line")).to_contain_text("● live")
    files = "performance.getEntriesByType('resource').filter(e => e.name.includes('/ui/'))"
    assert page.evaluate(f"{files}.length") > 8
    assert page.evaluate(f"{files}.filter(e => e.transferSize > 0).map(e => e.name)") == []


def test_it_is_painted_and_tells_the_verdict_at_once(chromium: Browser, desk: Desk) -> None:
    paints, verdicts = [], []
    for _ in range(LOADS):
        context = chromium.new_context()
        context.add_init_script(
            """new MutationObserver((_, me) => {
              if (/healthy|declared/.test(document.getElementById('verdict')?.textContent)) { window.toldAt = performance.now(); me.disconnect(); }
            }).observe(document, {childList: true, subtree: true, characterData: true})"""
        )
        page = context.new_page()
        page.goto(desk.url)
        expect(page.locator("#line")).to_contain_text("● live")
        page.wait_for_timeout(200)
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        verdicts.append(page.evaluate("toldAt"))
        context.close()
        if paints[-1] < FIRST_PAINT and verdicts[-1] < VERDICT:
            break
    assert min(paints) < FIRST_PAINT, paints
    assert min(verdicts) < VERDICT, verdicts


@pytest.fixture(scope="module")
def big() -> Iterator[Big]:
    with aside(big_fleet(sparks=16, each=20)) as fleet:
        yield fleet


def test_sixteen_sparks_with_twenty_models_each_stay_few_elements(chromium: Browser, big: Big) -> None:
    seen = Seen()
    with opened(chromium, big.url, seen) as page:
        expect(page.locator("li.card")).to_have_count(16)
        expect(page.get_by_role("button", name="Show all 320")).to_be_visible()
        assert page.evaluate("document.querySelectorAll('*').length") <= NODES


def test_no_long_task_while_much_happens(chromium: Browser, big: Big) -> None:
    """Containers die and come back all over the fleet, twenty a second; everything that the page's thread does for it
    is short. Counted in time of the processor, so that other work on this machine makes no task much longer; of three
    tries the best counts.
    """
    longest = []
    with opened(chromium, big.url, Seen()) as page:
        expect(page.locator("li.card")).to_have_count(16)
        page.wait_for_timeout(1000)
        for _ in range(1 if LONG else 3):
            chromium.start_tracing(page=page, categories=["toplevel"])
            with big.busy():
                page.wait_for_timeout(60_000 if LONG else 4_000)
            tasks = busy_tasks(json.loads(chromium.stop_tracing())["traceEvents"])
            assert len(tasks) > 20
            longest.append(max(tasks))
            if longest[-1] < LONG_TASK:
                break
    assert min(longest) < LONG_TASK, longest


def busy_tasks(events: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of processor of each task on the main threads of pages."""
    named = [e for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"]
    pages = {(e["pid"], e["tid"]) for e in named}
    return [
        e["tdur"] / 1000 for e in events if "RunTask" in e["name"] and (e["pid"], e["tid"]) in pages and "tdur" in e
    ]
