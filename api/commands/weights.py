"""`weights`: what lies on the Sparks and who needs it, fetching it, and deleting what nothing needs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from api.client import Client, ServerRefused
from api.output import SERVER, Format, Output, ServerOption, age, dump, fail, note, server, show, size, table

group = typer.Typer(name="weights", help="Weights on the Sparks: look, fetch, delete what nothing needs.")
Json = dict[str, Any]
EVERY: Final = 1.0  # seconds between two looks at a fetch
PLAIN_EVERY: Final = 15.0  # seconds between two lines where nobody's terminal is
PATIENCE: Final = 1200.0  # seconds: caches are looked through, and hundreds of gigabytes deleted
OVER: Final = frozenset({"done", "failed", "cancelled"})
STYLES: Final = {"done": "green", "failed": "red", "waiting": "yellow", "fetching": "yellow", "cancelled": "dim"}

OneSpark = Annotated[str | None, typer.Option("--spark", help="only this Spark")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="don't ask")]


@group.callback(invoke_without_command=True)
def weights(context: typer.Context, output: Output = Format.TABLE, address: ServerOption = SERVER) -> None:
    """What lies in the caches of the Sparks, who needs it, and what is being fetched."""
    if context.invoked_subcommand is not None:
        return
    with server(address) as client:
        answer = client.get("/api/weights")
        if output is Format.TABLE:
            show(Group(*_overview(answer)))
        else:
            dump(answer, output)


def _overview(answer: Json) -> Iterator[RenderableType]:
    columns = ("SPARK", "REPOSITORY", "REVISION", "SIZE", "COMPLETE", "NEEDED BY")
    rows = (row for name, spark in answer["sparks"].items() for row in _rows(name, spark))
    yield table(columns, rows, empty="No weights were found yet.")
    for name, spark in answer["sparks"].items():
        if spark["surveyedAt"] is None or spark["reason"]:
            why = spark["message"] or "its disk was not looked at yet"
            yield Text(f"{name}: {why}", "yellow")
    if answer["fetches"]:
        yield Text()
        head = ("FETCH", "SPARK", "REPOSITORY", "STATE", "PROGRESS", "MESSAGE")
        yield table(head, (_fetch_row(each) for each in answer["fetches"]))


def _rows(name: str, spark: Json) -> Iterator[tuple[str | Text, ...]]:
    for repository in spark["repositories"]:
        needed = ", ".join(repository["referencedBy"]) or "-"
        for revision in repository["revisions"] or [{"commit": "", "refs": [], "bytes": 0, "complete": False}]:
            known = ", ".join(revision["refs"]) or revision["commit"][:12] or "-"
            complete = {True: Text("yes"), False: Text("no", "red"), None: Text("unreadable", "magenta")}
            held = size(revision["bytes"] or repository["incompleteBytes"])
            yield name, repository["repository"], known, held, complete[revision["complete"]], needed


def _fetch_row(each: Json) -> tuple[str | Text, ...]:
    state = Text(each["state"], style=STYLES.get(each["state"], ""))
    return str(each["id"]), each["spark"], each["repository"], state, _progress(each) or "-", each["message"]


def _progress(each: Json) -> str:
    """`3.1 GiB of 15.3 GiB, 210 MiB/s, 58s left, from spark-2`."""
    progress = each["progress"]
    if progress is None:
        return ""
    words = [f"{size(progress['bytes'])} of {size(progress['total'])}"]
    if each["state"] == "fetching":
        words += [f"{size(progress['rate'])}/s"] if progress["rate"] else []
        words += [f"{age(progress['eta'])} left"] if progress["eta"] else []
    return ", ".join([*words, f"from {progress['source']}"])


@group.command()
def fetch(
    spark: Annotated[str, typer.Argument(help="where to")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="such as Qwen/Qwen3-8B")],
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag; default main")] = None,
    file: Annotated[list[str] | None, typer.Option(help="only this file or pattern; more than once")] = None,
    quant: Annotated[str | None, typer.Option(help="which of several GGUF variants, such as Q4_K_M")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="only ask for it, and watch nothing")] = False,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Have a Spark fetch a model's weights, and watch. Ctrl-C ends the watching, not the fetch."""
    body = {"repository": repository, "revision": revision, "files": file, "quant": quant}
    with server(address) as client:
        asked = {key: value for key, value in body.items() if value}
        fetching = client.post(f"/api/weights/{spark}/fetch", asked)
        if not detach:
            fetching = _watched(client, fetching)
        if output is not Format.TABLE:
            dump(fetching, output)
        elif detach:
            note(f"fetch {fetching['id']} is {fetching['state']}; `sparkkeep weights` shows how far it is")
        if not detach:
            _tell_end(fetching)


def _watched(client: Client, fetching: Json) -> Json:
    """The fetch when it has ended."""
    console = Console(stderr=True, highlight=False)
    number, said = fetching["id"], 0.0
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while fetching["state"] not in OVER:
                if console.is_terminal:
                    live.update(Text(_line(fetching)), refresh=True)
                elif time.monotonic() - said >= PLAIN_EVERY:
                    said = time.monotonic()
                    note(_line(fetching))
                time.sleep(EVERY)
                fetching = client.get(f"/api/weights/fetches/{number}")
    except KeyboardInterrupt:
        note(f"fetch {number} goes on; `sparkkeep weights` shows it, `sparkkeep weights cancel {number}` ends it")
        raise typer.Exit(130) from None
    return fetching


def _line(fetching: Json) -> str:
    before = f"{fetching['repository']} to {fetching['spark']}: "
    if fetching["state"] == "waiting" and fetching["nextAt"]:
        return f"{before}{fetching['message']}; again in {age(fetching['nextAt'] - time.time())}"
    if fetching["state"] == "queued":
        return f"{before}in line, another fetch is under way there"
    return before + (_progress(fetching) or "asking what there is")


def _tell_end(fetching: Json) -> None:
    for text in fetching["notes"]:
        note(text)
    where = f"{fetching['repository']} at {fetching['commit'][:12] or fetching['revision']}"
    if fetching["state"] == "done":
        note(f"{where} is on {fetching['spark']}")
    else:
        fail(f"{where} did not come to {fetching['spark']}: {fetching['message'] or 'it was cancelled'}")


@group.command()
def cancel(
    number: Annotated[int, typer.Argument(metavar="FETCH", help="its number, as `sparkkeep weights` shows it")],
    address: ServerOption = SERVER,
) -> None:
    """End a fetch; what came so far stays, and the next one goes on from there."""
    with server(address) as client:
        ended = client.delete(f"/api/weights/fetches/{number}")
        note(f"fetch {number} ({ended['repository']} to {ended['spark']}) is {ended['state']}")


@group.command()
def gc(
    spark: OneSpark = None,
    apply: Annotated[bool, typer.Option("--apply", help="delete it, after asking")] = False,
    yes: Yes = False,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Show which weights nothing needs, and why the others stay. With --apply, delete exactly those."""
    with server(address) as client:
        client.patience = PATIENCE
        plan = client.get("/api/weights/gc", spark=spark)
        if output is Format.TABLE:
            show(Group(*_planned(plan)))
        elif not apply:
            dump(plan, output)
        if not apply:
            return
        if not any(each["delete"] for each in plan["sparks"].values()):
            note("There is nothing to delete.")
            return
        if output is not Format.TABLE and not yes:
            fail("with -o the plan is not shown: use --yes to delete unseen. Nothing was deleted.")
        _agree(f"Delete {size(plan['bytes'])}?", yes=yes)
        done = _delete(client, plan["digest"], spark, output)
        if output is not Format.TABLE:
            dump(done, output)
        _tell_deleted(done)


def _agree(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        fail("nobody is there to ask: use --yes to delete without asking. Nothing was deleted.")
    if not typer.confirm(question, err=True):
        fail("Nothing was deleted.")


def _delete(client: Client, digest: str, spark: str | None, output: Format) -> Json:
    """What was deleted. Where the plan is another one by now, that is printed, and the program ends with status 1."""
    try:
        return dict(client.post("/api/weights/gc/apply", {"digest": digest, "spark": spark}))
    except ServerRefused as refused:
        if refused.body.get("reason") != "PlanChanged":
            raise
        note("Meanwhile something changed; this is the plan now:")
        if output is Format.TABLE:
            show(Group(*_planned(refused.body["plan"])))
        else:
            dump(refused.body["plan"], output)
        return fail("Nothing was deleted. Look at the new plan, and run it again.")


def _tell_deleted(done: Json) -> None:
    problems = [f"{name}: {problem}" for name, each in done["sparks"].items() for problem in each["problems"]]
    for name, each in done["sparks"].items():
        if each["deleted"]:
            note(f"{name}: deleted {size(each['bytes'])}: {', '.join(each['deleted'])}")
    if problems:
        fail("\n".join(problems))


def _planned(plan: Json) -> Iterator[RenderableType]:
    rows: list[tuple[str | Text, ...]] = []
    for name, each in plan["sparks"].items():
        rows += [(name, Text("delete", "red"), d["what"], size(d["bytes"]), d["why"]) for d in each["delete"]]
        rows += [(name, Text("keep"), kept["what"], "", kept["why"]) for kept in each["keep"]]
    yield table(("SPARK", "", "WEIGHTS", "SIZE", "WHY"), rows, empty="No weights were found.")
    for name, each in plan["sparks"].items():
        if each["message"]:
            yield Text(f"{name}: {each['message']}", "yellow")
    yield Text(f"{size(plan['bytes'])} would be freed.")
