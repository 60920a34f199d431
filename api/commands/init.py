"""`init`: from nothing to a desired.yaml, by asking for the Sparks and looking at them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from api.commands.doctor import summary
from api.folder import DEFAULT, DataFolder
from api.output import fail, note, sentences
from state.fields import NAME

if TYPE_CHECKING:
    from api.doctor import Examined
    from api.founding import Found
    from api.reach import Reach
    from reconciler.hostkeys import HostKeyUnknown
    from reconciler.ssh import Link
    from state.desired import Spark

app = typer.Typer()
FILE: Final = "desired.yaml"
ON_SCREEN: Final = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
HOPS: Final = 5  # host keys to agree to on the way to one Spark: its jump hosts' and its own
Named = tuple[str, "Spark"]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="where desired.yaml is written")] = Path(),
    host: Annotated[
        list[str] | None, typer.Option(help="a Spark, as user@host[:port] (repeatable); left out: you are asked")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="ask nothing: believe host keys that are new here, and write")
    ] = False,
    owner: Annotated[
        str | None, typer.Option(help="owner of our containers, where another sparkkeep keeps these Sparks too")
    ] = None,
    data: Annotated[
        Path, typer.Option(envvar="SPARKKEEP_DATA", help="folder for the host keys that you trust")
    ] = DEFAULT,
) -> None:
    """Write a first desired.yaml: asks for your Sparks, checks them, and reads what already runs there.

    \b
    sparkkeep init                                        asks
    sparkkeep init fleet --host nvidia@192.168.1.11       asks only whether the host key is right

    Nothing on the Sparks is changed, and a desired.yaml that is there is never overwritten.
    """  # noqa: D301  # \b is typer's
    target = folder / FILE
    with sentences():
        _refuse_what_is_there(target)
        _refuse_owner(owner)
        sparks = _sparks(host or [])
        text = _found(sparks, data, owner, yes=yes)
        if not yes and sys.stdin.isatty() and not typer.confirm(f"Write {target}?", default=True, err=True):
            fail("Nothing is written.")
        _write(target, text)
    note(f"{target} is written. Look at it, then:")
    note(f"  sparkkeep validate {target}")
    note(f"  sparkkeep serve --desired {target}")


def _refuse_what_is_there(target: Path) -> None:
    if target.exists() or target.is_symlink():
        fail(f"{target} is there already, and is left as it is: name another folder, or edit it (docs/DESIRED.md)")
    if target.parent.exists() and not target.parent.is_dir():
        fail(f"{target.parent} is no folder")


def _refuse_owner(owner: str | None) -> None:
    if owner is not None and re.fullmatch(NAME, owner) is None:
        fail(f"{owner!r} is no owner: lower-case letters, digits, '-' and '.', at most 63")


def _sparks(hosts: Sequence[str]) -> list[Named]:
    """The Sparks by the names that they get here."""
    from api.doctor import spark_at  # noqa: PLC0415  # loads SSH

    addresses = list(hosts) or _asked()
    found = [spark_at(address) for address in addresses]
    places = [(each.host, each.port) for each in found]
    for address, place in zip(addresses, places, strict=True):
        if places.count(place) > 1:
            fail(f"{address} is named twice")
    return [(f"spark-{number}", spark) for number, spark in enumerate(found, 1)]


def _asked() -> list[str]:
    if not sys.stdin.isatty():
        fail("nobody is there to ask: name each Spark with --host user@host")
    note("Which Sparks? One at a time, as user@host; an empty line ends.")
    found = list[str]()
    while answer := typer.prompt(f"Spark {len(found) + 1}", default="", show_default=False, err=True).strip():
        found.append(answer)
    return found or fail("No Spark is named, and nothing is written.")


def _found(sparks: Sequence[Named], data: Path, owner: str | None, *, yes: bool) -> str:
    """The text to write. Asks about host keys on the way; ends with a sentence where a Spark can't be used."""
    from api.doctor import look  # noqa: PLC0415  # loads SSH
    from api.founding import document  # noqa: PLC0415  # as above
    from api.reach import Reach  # noqa: PLC0415  # as above
    from api.running_there import strangers_of  # noqa: PLC0415  # as above
    from reconciler.doctor.case import Wanted  # noqa: PLC0415  # as above
    from state.desired import Settings  # noqa: PLC0415  # as above
    from state.sources import read_recipes, recipe_files  # noqa: PLC0415  # as above

    kept = DataFolder(data)
    reach = Reach.of(os.environ, kept.known_hosts)
    for name, spark in sparks:
        _agree(name, spark, reach, kept, yes=yes)
    wanted = Wanted(owner=owner or Settings().owner)
    given = [(*each, wanted) for each in sparks]
    examined = asyncio.run(look(given, reach, lambda name, what: note(f"{name}: {what}")))
    _refuse_unfit(examined, wanted.owner)

    async def running() -> list[Found]:
        there = [await strangers_of(each, reach.link(each.case.name, each.case.spark)) for each in examined]
        return [each for some in there for each in some]

    found = asyncio.run(running())
    for each in found:
        what = "declared, with `run: never`" if each.imported is not None else f"only named: {each.why}"
        note(f"{each.spark}: the container {each.container} is {what}")
    return document(examined, found, owner, read_recipes(recipe_files(os.environ)))


def _refuse_unfit(examined: Sequence[Examined], owner: str) -> None:
    """Say what is wrong; end where a Spark can't be reached, or is somebody else's."""
    from api.doctor import told  # noqa: PLC0415  # loads SSH
    from api.founding import ours  # noqa: PLC0415  # as above
    from reconciler.doctor.verdict import reachable  # noqa: PLC0415  # as above

    for each in examined:
        for line in told(each):
            note(line)
    note(summary(examined))
    if away := [each.case.login for each in examined if not reachable(each.findings)]:
        fail(f"Nothing is written: mend what is said above, or leave out {', '.join(away)}.")
    for each in examined:
        if containers := ours(each, owner):
            fail(
                f"Nothing is written: a sparkkeep keeps {each.case.login} already ({', '.join(containers[:5])}), by a "
                "desired.yaml of its own. Use that one; or keep the Spark beside it, with --owner and another name"
            )


def _agree(name: str, spark: Spark, reach: Reach, kept: DataFolder, *, yes: bool) -> None:
    """Show each host key on the way that is new here, and believe it if a person does. A changed one is never taken."""
    for _ in range(HOPS):
        unknown = asyncio.run(_stranger(reach.link(name, spark)))
        if unknown is None:
            return
        whose = unknown.key_line.split()[0]
        note(f"{whose} shows a host key that is new here: {unknown.fingerprint}")
        if not yes:
            _ask_for_trust(whose)
        kept.make()
        reach.hostkeys.trust(unknown.key_line)


async def _stranger(link: Link) -> HostKeyUnknown | None:
    """The host key on the way there that nobody knows here. What else is wrong is found, and told, by looking at it."""
    from reconciler.linkdown import LinkDown  # noqa: PLC0415  # loads SSH

    try:
        await link.connect()
    except LinkDown as down:
        return down.__cause__ if down.reason == "HostKeyUnknown" else None  # type: ignore[return-value]  # dial's
    finally:
        await link.close()
    return None


def _ask_for_trust(whose: str) -> None:
    if not sys.stdin.isatty():
        fail("nobody is there to compare it: log in once with ssh, or use --yes")
    note(f"On its own screen, `{ON_SCREEN}` shows what it should be.")
    if not typer.confirm(f"Is that the key of {whose}?", err=True):
        fail("Nothing is trusted, and nothing is written.")


def _write(target: Path, text: str) -> None:
    """A new file, or none: what appeared meanwhile stays."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{target} has appeared meanwhile, and is left as it is")
    except OSError as error:
        fail(f"{target} can't be written: {error.strerror}")
