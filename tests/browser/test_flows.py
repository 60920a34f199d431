"""What people do at the dashboard, from the first click to what is true on the Sparks and in git afterwards."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE, Desk

expect.set_options(timeout=PATIENCE)


def containers(desk: Desk, spark: str) -> set[str]:
    return {name for name, c in desk.fleet[spark].engine.containers.items() if c.state == "running"}


def to_page(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_a_switch_is_planned_committed_done_and_healthy_again(page: Page, desk: Desk) -> None:
    row = page.get_by_role("row", name=re.compile("^qwen3-8b"))
    expect(row).to_contain_text("Healthy")
    before = desk.desired.read_text(), desk.commits()
    row.get_by_role("button", name="qwen3-8b runs always: change").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="never").click()
    expect(dialog).to_contain_text("stop qwen3-8b on spark-1")
    expect(dialog.locator("pre").filter(has_text="docker stop")).to_have_count(1)
    assert (desk.desired.read_text(), desk.commits()) == before, "a plan changes nothing"
    dialog.get_by_label("Why").fill("too warm here")
    dialog.get_by_role("button", name=re.compile("^Commit")).click()
    expect(page.locator("#toast")).to_contain_text("Committed")
    expect(row).to_contain_text("Suspended")
    assert desk.desired.read_text() == before[0].replace("run: always   # for", "run: never   # for")
    newest = desk.get("/api/history")["commits"][0]
    assert (newest["subject"], newest["reason"]) == ("Set models.qwen3-8b.run to never", "too warm here")
    assert "dashboard" in newest["author"]
    desk.wait(lambda s: s["workloads"]["qwen3-8b"]["sync"] == "Synced", "it did not stop")
    row.get_by_role("button", name="qwen3-8b runs never: change").click()
    dialog.get_by_role("button", name="always").click()
    dialog.get_by_role("button", name=re.compile("^Commit")).click()
    expect(row).to_contain_text("Healthy")
    assert desk.desired.read_text() == before[0]


def test_cancel_and_escape_change_nothing(page: Page, desk: Desk) -> None:
    before = desk.commits()
    page.get_by_role("button", name="hello runs always: change").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="never").click()
    expect(dialog).to_contain_text("stop hello")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert desk.commits() == before
    assert desk.get("/api/status")["plan"]["steps"] == 0


def test_what_was_typed_for_one_change_does_not_stand_in_the_next(page: Page, desk: Desk) -> None:
    dialog = page.get_by_role("dialog")
    for name in ("hello", "reranker"):
        page.get_by_role("button", name=f"{name} runs always: change").click()
        dialog.get_by_role("button", name="never").click()
        expect(dialog).to_contain_text(f"stop {name}")
        expect(dialog.get_by_label("Why")).to_have_value("")
        dialog.get_by_label("Why").fill(f"because of {name}")
        dialog.get_by_role("button", name="Cancel").click()
    page.keyboard.press("?")
    expect(dialog.get_by_role("heading")).to_have_text("Keys")
    page.keyboard.press("Escape")


def test_a_model_that_needs_setting_up_is_set_up(page: Page, desk: Desk) -> None:
    to_page(page, "Models")
    page.get_by_label("Filter models").fill("phi-4")
    row = page.get_by_role("row", name=re.compile("^microsoft.phi-4"))
    expect(row).to_contain_text("needs setting up")
    row.get_by_role("button", name="Set up …").click()
    dialog = page.get_by_role("dialog")
    recipe = json.loads(dialog.get_by_label("Recipe, inferred").input_value())
    assert recipe["model"] == "microsoft/phi-4"
    dialog.get_by_label("Name that apps use").fill("phi")
    dialog.locator("[name=on]").select_option("spark-1")
    dialog.get_by_role("button", name="Show the plan").click()
    expect(dialog).to_contain_text("phi on spark-1")
    dialog.get_by_role("button", name=re.compile("^Commit")).click()
    desk.wait(lambda s: s["workloads"].get("phi", {}).get("health") == "Healthy", "phi did not come up")
    expect(row.get_by_role("link", name="phi", exact=True)).to_be_visible()
    to_page_of(page, "phi")
    page.get_by_role("button", name="Remove").click()
    dialog.get_by_role("button", name=re.compile("^Commit")).click()
    expect(page.locator("main")).to_contain_text("No workload has this name")


def to_page_of(page: Page, workload: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Fleet").click()
    page.get_by_role("table").get_by_role("link", name=workload, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(workload)


def test_a_log_is_followed_and_searched(page: Page, desk: Desk) -> None:
    to_page_of(page, "qwen3-8b")
    page.get_by_role("button", name="Follow the log").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("listening on 8000")
    page.get_by_label("Filter the log").fill("listening (on|at)")
    expect(log).not_to_contain_text("loading")
    expect(log).to_contain_text("listening on 8000")


def test_how_far_a_start_is_stands_beside_it(page: Page, desk: Desk) -> None:
    faults = desk.fleet["spark-1"].faults
    faults.loading("sparkkeep-qwen3-8b")
    to_page_of(page, "qwen3-8b")
    page.get_by_role("button", name="Restart").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Restart")).click()
    try:
        expect(page.get_by_role("table").get_by_role("progressbar")).to_be_visible()
        expect(page.locator("main")).to_contain_text("Progressing")
    finally:
        faults.loading("sparkkeep-qwen3-8b", False)
    expect(page.get_by_role("table").get_by_role("progressbar")).to_have_count(0)
    desk.well()


def test_a_clean_up_names_what_goes_and_wants_a_word_typed(page: Page, desk: Desk) -> None:
    to_page(page, "Models")
    page.get_by_role("button", name="Plan a clean-up …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("microsoft/phi-4")
    there = desk.get("/api/models")["models"]
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog).to_be_visible()  # nothing was typed
    assert desk.get("/api/models")["models"] == there
    dialog.get_by_label(re.compile("^This can't be undone")).fill("delete")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator("#toast")).to_contain_text("Deleted")
    page.get_by_label("Filter models").fill("phi-4")
    page.get_by_role("button", name="Look at the disks again").click()
    expect(page.get_by_role("row", name=re.compile("^microsoft.phi-4"))).to_have_count(0)


def test_a_model_is_asked_something(page: Page, desk: Desk) -> None:
    to_page_of(page, "qwen3-8b")
    page.get_by_role("button", name="Ask it something").click()
    page.get_by_label("Text").fill("What is the capital of France?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="chat,")).to_contain_text(re.compile(r"chat, \d+ ms, \d+ tokens"))


def test_what_apps_ask_is_shown_with_where_it_went_and_why(page: Page, desk: Desk) -> None:
    assert [desk.asks(model) for model in ("qwen3-8b", "qwen3")] == [200, 404]
    to_page(page, "Requests")
    ended = page.get_by_role("table", name="Ended")
    good, bad = (
        ended.get_by_role("row", name=re.compile("^qwen3-8b")),
        ended.get_by_role("row", name=re.compile("^qwen3 ")),
    )
    expect(good).to_contain_text("200")
    expect(good).to_contain_text("qwen3-8b@spark-1 the only instance that answers")
    expect(good).to_contain_text(re.compile(r"\d+ \+ \d+"))
    expect(bad).to_contain_text("404 NoSuchModel")
    expect(page.locator("main")).to_contain_text("0 requests under way")
    page.get_by_label("only what failed").check()
    expect(good).to_have_count(0)
    expect(bad).to_have_count(1)
    page.get_by_label("Filter requests").fill("nobody asked this")
    expect(page.locator("main")).to_contain_text("None that fits.")
    page.get_by_label("only what failed").uncheck()
    page.get_by_label("Filter requests").fill("")
    good.get_by_role("link", name="qwen3-8b@spark-1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("qwen3-8b")


def test_everything_is_asked_on_demand(page: Page, desk: Desk) -> None:
    to_page(page, "Checks")
    page.get_by_role("button", name="Ask everything now").click()
    expect(page.locator("main")).to_contain_text("All is well")
    for name in ("qwen3-8b", "reranker", "spark-1"):
        expect(page.get_by_role("table").get_by_role("link", name=name).first).to_be_visible()
    assert desk.get("/api/health/deep")["last"]["healthy"]


def test_back_to_an_earlier_state_as_a_new_commit(page: Page, desk: Desk) -> None:
    httpx_patch(desk, "/api/desired/services/hello", {"on": ["spark-1"]})
    desk.wait(
        lambda s: len(s["workloads"]["hello"]["instances"]) == 1 and s["plan"]["steps"] == 0, "hello did not move"
    )
    then = desk.commits()
    to_page(page, "History")
    expect(page.locator("main")).to_contain_text(then[0])
    page.get_by_role("button", name="What it changed").first.click()
    expect(page.locator("pre.diff .minus")).to_contain_text("one on each")
    page.get_by_role("button", name="Go back to this …").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("create hello on spark-2")
    dialog.get_by_role("button", name=re.compile("^Commit")).click()
    expect(page.locator("#toast")).to_contain_text("Committed")
    desk.wait(lambda s: len(s["workloads"]["hello"]["instances"]) == 2, "hello did not come back")
    assert len(desk.commits()) == len(then) + 1
    assert "# one on each" in desk.desired.read_text()


def httpx_patch(desk: Desk, path: str, value: dict[str, object]) -> None:
    import httpx2

    assert httpx2.patch(f"{desk.url}{path}", json=value, timeout=20).status_code == 200


def test_the_server_ends_and_begins_anew_under_the_open_page(page: Page, desk: Desk) -> None:
    page.evaluate("document.body.dataset.same = 'yes'")
    desk.stop()
    expect(page.locator("#line")).to_contain_text("no news since")
    expect(page.get_by_role("row", name=re.compile("^hello"))).to_be_visible()  # as it was; nothing is cleared
    desk.start()
    expect(page.locator("#line")).to_contain_text("● live")
    desk.well()
    expect(page.get_by_role("row", name=re.compile("^hello"))).to_contain_text("Healthy")
    assert page.evaluate("document.body.dataset.same") == "yes", "the page was never loaded anew"


def test_many_tabs_share_one_stream(page: Page, desk: Desk) -> None:
    """A browser opens six connections to a server over plain HTTP: with a stream for each, the seventh tab would hang."""
    assert desk.app is not None
    tabs = [page.context.new_page() for _ in range(9)]
    for tab in tabs:
        tab.goto(desk.url)
        expect(tab.locator("#line")).to_contain_text("● live")
        expect(tab.get_by_role("row", name=re.compile("^hello"))).to_contain_text("Healthy")
    assert desk.app.state.watch.listeners == 1
    httpx_patch(desk, "/api/desired/services/hello", {"run": "never"})
    for tab in (page, *tabs):
        expect(tab.get_by_role("row", name=re.compile("^hello"))).to_contain_text("Suspended")
    page.close()  # the one that opened it
    httpx_patch(desk, "/api/desired/services/hello", {"run": None})
    for tab in tabs:
        expect(tab.get_by_role("row", name=re.compile("^hello"))).to_contain_text("Healthy")
    assert desk.app.state.watch.listeners == 1


def test_a_spark_that_is_cut_off_is_told_and_not_green(page: Page, desk: Desk) -> None:
    spark = desk.fleet["spark-2"]
    spark.faults.cut()
    try:
        card = page.locator("li.card").filter(has_text="spark-2")
        expect(card).to_contain_text("Unknown")
        expect(page.get_by_role("region", name="Needs a look")).to_contain_text("Nothing on it is touched")
        expect(page.locator("#verdict")).to_contain_text("1 Spark does not answer")
        expect(page).to_have_title(re.compile(r"^\(\d\) sparkkeep"))
    finally:
        spark.faults.heal()
    expect(page.locator("#verdict")).not_to_contain_text("not answer")


def test_draining_shows_what_it_stops(page: Page, desk: Desk) -> None:
    page.locator("li.card").get_by_role("link", name="spark-2").click()
    page.get_by_role("button", name="Drain").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("stop reranker on spark-2")
    dialog.get_by_role("button", name=re.compile("^Drain")).click()
    expect(page.get_by_role("button", name="Undrain")).to_be_visible()
    desk.wait(lambda s: s["plan"]["steps"] == 0 and s["workloads"]["reranker"]["health"] == "Suspended", "not drained")
    assert not containers(desk, "spark-2") - {"grafana"}
    page.get_by_role("button", name="Undrain").click()
    dialog.get_by_role("button", name=re.compile("^Undrain")).click()
    desk.well()


def test_the_gear_saves_live_and_says_what_is_wrong(page: Page, desk: Desk) -> None:
    to_page(page, "Settings")
    interval = page.get_by_label("scanInterval")
    interval.fill("soon")
    page.get_by_role("button", name="Show the plan").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("scanInterval")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator(".setting", has=interval)).to_contain_text("must be a duration")
    interval.fill("20s")
    page.get_by_role("button", name="Show the plan").click()
    expect(dialog.locator("pre.diff")).to_contain_text("+ settings.scanInterval: 20s")
    dialog.get_by_role("button", name=re.compile("^Commit")).click()
    expect(page.locator("#toast")).to_contain_text("in force")
    found = desk.get("/api/settings")
    assert found["values"]["settings.scanInterval"] == "20s"
    assert "scanInterval: 20s" in desk.desired.read_text()
    assert desk.commits()[0] == "Set settings.scanInterval to 20s"
    expect(interval).to_have_value("20s")
    page.locator(".setting", has=interval).get_by_label("take it away").check()
    page.get_by_role("button", name="Show the plan").click()
    dialog.get_by_role("button", name=re.compile("^Commit")).click()
    expect(page.locator(".setting", has=interval)).to_contain_text("the default")
    assert "scanInterval" not in desk.desired.read_text()


def test_keys_lead_and_change_nothing(page: Page, desk: Desk) -> None:
    before = desk.commits()
    for keys, heading in (
        ("gp", "Plan"),
        ("gm", "Models"),
        ("gr", "Requests"),
        ("ge", "Events"),
        ("gc", "Checks"),
        ("gh", "History"),
        ("gf", "Fleet"),
    ):
        for key in keys:
            page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.keyboard.press("/")
    expect(page.get_by_label("Filter workloads")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Workloads").click()
    for key in ("j", "k", "j", "j"):
        page.keyboard.press(key)
    expect(page.locator(".row-link:focus")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("to the filter of this page")
    page.keyboard.press("Escape")
    for word in ("stop", "purge", "delete", "restart"):  # whatever somebody types beside a field
        page.keyboard.type(word)
    assert desk.commits() == before
    assert desk.get("/api/status")["plan"]["steps"] == 0
