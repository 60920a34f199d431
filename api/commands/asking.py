"""`health`, `try` and `notify`: is everything well, does it answer, and who hears of it if not."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from api.client import Client, ServerRefused
from api.output import SERVER, Format, Output, ServerOption, age, dump, fail, note, server, show, table

app = typer.Typer()
group = typer.Typer(name="notify", help="Who is told when something is wrong and lasts.", no_args_is_help=True)

DEEP_PATIENCE: Final = 150.0  # seconds
TRY_PATIENCE: Final = 90.0
BAD: Final = frozenset({"Degraded", "Missing", "Unknown"})
STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}
Json = dict[str, Any]


class TryKind(StrEnum):
    """What a workload can be asked for."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"
    SPEECH = "speech"


@app.command()
def health(
    deep: Annotated[
        bool, typer.Option("--deep", help="ask every model, every Spark and sparkkeep itself, now")
    ] = False,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Is everything well? Exit status 0 if it is, 1 if not.

    \b
    sparkkeep health             what is known: which Sparks answer, which workloads serve
    sparkkeep health --deep      a question to everything, within two minutes; nothing is started or changed by it
    """  # noqa: D301  # \b is typer's
    with server(address) as client:
        if deep:
            client.patience = DEEP_PATIENCE
            _deep(client.post("/api/health/deep")["last"], output)
        else:
            _light(_ready(client), client.get("/api/status"), output)


def _ready(client: Client) -> Json:
    try:
        found: Json = client.get("/readyz")
    except ServerRefused as refused:
        if "ready" not in refused.body:
            raise
        return refused.body
    return found


def _light(ready: Json, status: Json, output: Format) -> None:
    faults = [*ready["reasons"], *_faults(status)]
    told = {
        "healthy": not faults,
        "ready": ready["ready"],
        "sparks": dict(Counter("Reachable" if s["reachable"] else "Unknown" for s in status["sparks"].values())),
        "sync": dict(Counter(w["sync"] for w in status["workloads"].values())),
        "health": dict(Counter(w["health"] for w in status["workloads"].values())),
        "faults": faults,
    }
    if output is not Format.TABLE:
        dump(told, output)
    else:
        rows = [(what.upper(), ", ".join(f"{n} {word}" for word, n in sorted(told[what].items())) or "none")
                for what in ("sparks", "sync", "health")]  # fmt: skip
        show(table((), rows))
        for fault in faults:
            note(fault)
    if faults:
        raise typer.Exit(1)


def _faults(status: Json) -> Iterator[str]:
    yield from (f"the desired state is invalid: {problem['text']}" for problem in status["problems"][:1])
    for name, spark in status["sparks"].items():
        if not spark["reachable"]:
            yield f"{name} does not answer: {spark['message']}"
    for name, workload in status["workloads"].items():
        ready = next((each["reason"] for each in workload["conditions"] if each["type"] == "Ready"), "")
        if workload["health"] in BAD and ready != "OnDemand":
            yield f"{name} is {workload['health']}: {workload['message']}"


def _deep(report: Json, output: Format) -> None:
    if output is not Format.TABLE:
        dump(report, output)
    else:
        rows = (
            (
                finding["name"],
                finding["spark"] or "-",
                finding["check"],
                Text(finding["outcome"], style=STYLES[finding["outcome"]]),
                "-" if finding["milliseconds"] is None else f"{finding['milliseconds']:.0f}",
                finding["message"],
            )
            for finding in report["findings"]
        )
        show(table(("NAME", "SPARK", "CHECK", "OUTCOME", "MS", "MESSAGE"), rows))
        counts = Counter(finding["outcome"] for finding in report["findings"])
        note(f"{', '.join(f'{n} {word}' for word, n in sorted(counts.items()))}, in {report['seconds']:.1f} s")
    if not report["healthy"]:
        raise typer.Exit(1)


@app.command("try")
def try_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a workload")],
    text: Annotated[
        str | None, typer.Argument(help="what to ask; for a rerank the question and a document a line")
    ] = None,
    kind: Annotated[TryKind | None, typer.Option(help="what to ask for; left out, what its probe asks for")] = None,
    audio: Annotated[Path | None, typer.Option(help="for a transcription: a WAV of at most 1 MiB")] = None,
    save: Annotated[Path | None, typer.Option(help="for speech: the file to write the sound to")] = None,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Ask a workload something, and see its own answer.

    \b
    sparkkeep try qwen3-8b "What is the capital of France?"
    sparkkeep try parakeet --audio said.wav
    sparkkeep try kokoro "Good morning" --save morning.wav
    """  # noqa: D301  # \b is typer's
    asked: Json = {}
    if text is not None:
        asked["text"] = text
    if kind is not None:
        asked["kind"] = kind.value
    if audio is not None:
        asked["audio"] = base64.b64encode(_read(audio)).decode()
    with server(address) as client:
        client.patience = TRY_PATIENCE
        answer = client.post(f"/api/workloads/{name}/try", asked)
    if answer["audio"] is not None and save is not None:
        save.write_bytes(base64.b64decode(answer["audio"]))
    if output is not Format.TABLE:
        dump(answer, output)
        return
    _tell(answer, save)


def _tell(answer: Json, save: Path | None) -> None:
    if answer["text"] is not None:
        print(answer["text"])  # noqa: T201  # what was asked for
    if answer["vector"] is not None:
        print(*(f"{number:.6g}" for number in answer["vector"]), "...")  # noqa: T201  # as above
        note(f"the first {len(answer['vector'])} of {answer['dimensions']} numbers")
    if answer["scores"] is not None:
        show(table(("SCORE", "TEXT"), [(f"{each['score']:.4f}", each["text"]) for each in answer["scores"]]))
    if answer["audio"] is not None:
        size = len(base64.b64decode(answer["audio"]))
        where = f"written to {save}" if save is not None else "name a file for it with --save"
        note(f"{size} bytes of {answer['contentType']}; {where}")
    tokens = f", {answer['tokens']} tokens" if answer["tokens"] is not None else ""
    note(f"{answer['kind']} of {answer['workload']} on {answer['spark']}, in {answer['milliseconds']:.0f} ms{tokens}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path} can't be read: {error.strerror}")


@group.command("list")
def list_(output: Output = Format.TABLE, address: ServerOption = SERVER) -> None:
    """Each of `settings.notifications`: when it was last told something, and what went wrong."""
    with server(address) as client:
        found = client.get("/api/notifications")
    if output is not Format.TABLE:
        dump(found, output)
        return
    now = time.time()
    rows = [
        (
            each["name"],
            each["kind"],
            each["address"],
            age(each["after"]),
            "never" if each["deliveredAt"] is None else f"{age(now - each['deliveredAt'])} ago",
            str(each["waiting"]),
            each["failure"] if each["failing"] else "-",
        )
        for each in found["notifications"]
    ]
    columns = ("NAME", "KIND", "ADDRESS", "AFTER", "DELIVERED", "WAITING", "MESSAGE")
    show(table(columns, rows, empty="Nobody is told: settings.notifications is empty."))


@group.command("test")
def try_address(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a notification")], address: ServerOption = SERVER
) -> None:
    """Send a message now, and see whether it was taken."""
    with server(address) as client:
        client.post(f"/api/notifications/{name}/test")
    note(f"{name} has taken a test message")
