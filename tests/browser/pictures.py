"""The pictures of docs/DASHBOARD.md, taken of practice Sparks: `make pictures`.

A wide page in the light, the same in the dark, a plan, a workload, and a phone. Something is wrong on them, since that
is when people look.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import httpx2
from playwright.sync_api import Page, expect, sync_playwright

from tests.aside import aside
from tests.browser.conftest import CHROMIUM, Desk, Seen, _fleet, made, opened

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
WIDE = {"width": 1120, "height": 800}
PHONE = {"width": 390, "height": 844}


def settle(page: Page) -> None:
    expect(page.locator("#line")).to_contain_text("● live")
    page.wait_for_timeout(800)


def take(desk: Desk) -> None:
    desk.well()
    time.sleep(40)  # so that the curves have something to show
    too_large = {"recipe": "gpt-oss-120b", "on": "spark-1", "port": 8001}
    httpx2.put(f"{desk.url}/api/desired/models/gpt-oss-120b", json=too_large, timeout=20).raise_for_status()
    desk.wait(lambda status: status["workloads"].get("gpt-oss-120b", {}).get("health") == "Missing", "it fits")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            with opened(browser, desk.url, Seen(), color_scheme=scheme, viewport=WIDE) as page:
                settle(page)
                page.screenshot(path=FOLDER / f"fleet-{scheme}.png")
        with opened(browser, desk.url, Seen(), viewport=WIDE) as page:
            settle(page)
            page.get_by_role("button", name="hello runs always: change").click()
            page.get_by_role("button", name="never").click()
            page.get_by_role("dialog").locator("summary").first.click()
            page.screenshot(path=FOLDER / "plan.png")
        with opened(browser, f"{desk.url}/#/workloads/gpt-oss-120b", Seen(), viewport=WIDE) as page:
            settle(page)
            page.screenshot(path=FOLDER / "workload.png", full_page=True)
        with opened(browser, desk.url, Seen(), color_scheme="dark", viewport=PHONE) as page:
            settle(page)
            page.screenshot(path=FOLDER / "phone-dark.png")
        browser.close()


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, aside(_fleet(Path(folder) / "sparks")) as fleet:
        desk = made(Path(folder), fleet)
        desk.start()
        try:
            take(desk)
        finally:
            desk.stop()


if __name__ == "__main__":
    main()
