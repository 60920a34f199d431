"""`render`: a configuration for a proxy in front of the Sparks, once or for as long as it runs."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from api.client import Client, NoServer
from api.output import SERVER, ServerOption, fail, note, server

app = typer.Typer()

DIGITS: Final = 16
WAIT: Final = 20.0  # seconds that the server holds a question without news
PAUSE: Final = 2.0  # seconds between two reloads, and before something that failed is tried again
PATIENCE: Final = 60.0  # seconds for the reload
SHOWN: Final = 500
PUBLIC: Final = 0o644
Query = Mapping[str, Any]


class For(StrEnum):
    """The proxies that are known."""

    HAPROXY = "haproxy"
    NGINX = "nginx"


@app.command()
def render(
    proxy: Annotated[For, typer.Argument(help="for which")],
    reload: Annotated[
        list[str] | None, typer.Argument(metavar="[-- PROGRAM [ARGUMENT]...]", help="run after each change of FILE")
    ] = None,
    file: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="write it there, whole")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="and again whenever others answer")] = False,
    listen: Annotated[str | None, typer.Option(help="where the proxy listens; default :8080")] = None,
    keeper: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="where the proxy finds sparkkeep; default: as --server")
    ] = None,
    by_body: Annotated[
        bool, typer.Option("--by-body", help="HAProxy also reads the model's name in the body, at /v1")
    ] = False,
    address: ServerOption = SERVER,
) -> None:
    """A configuration for HAProxy or nginx that sends apps to the Sparks that answer now, and the rest to sparkkeep.

    \b
    sparkkeep render haproxy                                     on standard output
    sparkkeep render nginx -o /etc/nginx/conf.d/sparkkeep.conf
    sparkkeep render haproxy -w -o /etc/haproxy/sparkkeep.cfg -- systemctl reload haproxy
    """  # noqa: D301  # \b is typer's
    if file is None and (watch or reload):
        fail("there is nothing to watch or reload without a file: name it with -o FILE")
    query = {"listen": listen, "keeper": keeper, "byBody": by_body or None}
    with server(address) as client:
        if file is None:
            print(_text(client, proxy, query), end="")  # noqa: T201  # what was asked for
        elif not watch:
            raise typer.Exit(0 if _put(file, _text(client, proxy, query), reload or []) else 1)
        else:
            _keep(client, proxy, query, file, reload or [])


def _keep(client: Client, proxy: For, query: Query, file: Path, reload: Sequence[str]) -> None:
    """Never ends. What is in the file stays there while nobody answers, and a reload that failed is tried again."""
    for text in _texts(client, proxy, query):
        while not _put(file, text, reload):
            time.sleep(PAUSE)
        time.sleep(PAUSE)


def _texts(client: Client, proxy: For, query: Query) -> Iterator[str]:
    """Each text that is another one. Raises NoServer if nobody was ever there."""
    text, said = "", False
    while True:
        try:
            news = _text(client, proxy, {**query, **({"unless": _digest(text), "wait": WAIT} if text else {})})
        except NoServer as error:
            if not text:
                raise
            if not said:
                note(f"{error}; what was written stays")
            said = True
            time.sleep(PAUSE)
            continue
        said = False
        if news and news != text:
            text = news
            yield text


def _text(client: Client, proxy: For, query: Query) -> str:
    """Empty: it is still the same."""
    return client.text(f"/api/render/{proxy}", **query)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:DIGITS]


def _put(file: Path, text: str, reload: Sequence[str]) -> bool:
    """Whether it stands there, and whoever reads it was told. The same text again is not told."""
    try:
        if file.exists() and file.read_text() == text:
            return True
        before = file.read_bytes() if file.exists() else None
        _write(file, text)
    except OSError as error:
        return fail(f"{file} can't be written: {error.strerror}")
    note(f"{file} is written")
    if not reload or _told(reload):
        return True
    if before is None:
        file.unlink()
    else:
        _write(file, before.decode())  # so that the next try is one, and a restart meanwhile finds what worked
    return False


def _write(file: Path, text: str) -> None:
    """Whole or not at all."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w") as out:
            out.write(text)
        Path(name).chmod(file.stat().st_mode & 0o777 if file.exists() else PUBLIC)
        Path(name).replace(file)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _told(argv: Sequence[str]) -> bool:
    try:
        done = subprocess.run(  # noqa: S603  # a person's own words, as an argv
            list(argv), capture_output=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        note(f"{argv[0]} did not run: {error}")
        return False
    if done.returncode:
        why = (done.stderr or done.stdout).decode(errors="replace").strip()
        note(f"{argv[0]} ended with {done.returncode}: {why[-SHOWN:]}")
    return not done.returncode
