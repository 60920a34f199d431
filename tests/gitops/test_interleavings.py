"""Whatever writes, hand edits, pushes, forced pushes and outages come in whatever order: nothing is lost or doubled.

Two clones that sparkkeep keeps, and a third party with plain git. What happens is drawn by a seed. In the end the
remote is back, each person commits what they edited, settles conflicts as they are told to, and the world is looked at.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from state.git import GitFailed
from state.remote import Outcome, Remote
from state.repository import Repository
from state.repository_commit import Actor
from tests.gitops import plain
from tests.gitops.edits import add

COUNT = 500 if "SPARKKEEP_LONG" in os.environ else 10
EVENTS = 10
SECTIONS = [f"section{number}" for number in range(10)]
BODY = "# of the lab\n" + "".join(
    f"# about {name}\n{name}:  # here\n  first: {{}}\n# {name} ends\n\n" for name in SECTIONS
)
COMMENTS = [line for line in BODY.splitlines() if "#" in line]
NAMES = ("desired.yaml", "more.yaml")
SIDES = ("left", "right")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A remote and three clones of it that find it wherever they are copied to."""
    files = {name: BODY.encode() for name in NAMES}
    return plain.template(tmp_path_factory.mktemp("template"), files, ("third", *SIDES))


class World:
    """One interleaving."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.third = folder / "third"
        self.keys = 0
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.by_hand: list[str] = []
        self.dropped: set[str] = set()  # subjects that the third party threw away
        self.told: list[str] = []

    async def open(self) -> None:
        self.repositories = {side: await Repository.open(self.folder / side) for side in SIDES}
        self.remotes = {side: await Remote.open(self.repositories[side]) for side in SIDES}

    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}k"

    def up(self) -> bool:
        return (self.folder / "remote.git").exists()

    async def event(self) -> None:
        side, other = self.dice.sample(SIDES, 2)
        kinds: list[tuple[int, Callable[[], Awaitable[None] | None]]] = [
            (6, lambda: self.write(side)),
            (5, lambda: self.sync(side)),
            (3, lambda: self.at_once(self.write(side), self.write(side), self.sync(side), self.sync(other))),
            (2, lambda: self.at_once(self.write(side), self.write(other), self.sync(side), self.sync(other))),
            (4, lambda: self.edit(side)),
            (2, lambda: self.stage(side)),
            (2, lambda: self.commit(side)),
            (2, self.push),
            (1, self.force),
            (1, self.outage),
        ]
        (chosen,) = self.dice.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
        going = chosen()
        if going is not None:
            await going

    async def at_once(self, *tasks: Awaitable[None]) -> None:
        await asyncio.gather(*tasks)

    async def write(self, side: str) -> None:
        key, name = self.key(), self.dice.choice(NAMES)
        section = self.dice.choice([*SECTIONS, *SECTIONS, "nowhere"])
        edit = {name: add(section, f"{key}: {{}}")}
        self.told.append(f"{side} writes {key} to {section} of {name}")
        try:
            commit = await self.repositories[side].write(edit, message=f"Add {key}", actor=Actor("alice"), reason="why")
        except (GitFailed, ValueError):
            self.refused.append(key)
            return
        assert commit is not None
        self.accepted.append(key)
        shown = plain.git(self.folder / side, "show", "--format=", "--unified=0", commit.revision).splitlines()
        lines = [line for line in shown if line.startswith(("+ ", "-", "+#")) and not line.startswith("---")]
        assert lines == [f"+  {key}: {{}}"], "the commit holds the write and nothing else"

    async def sync(self, side: str) -> None:
        outcome = await self.remotes[side].sync()
        self.told.append(f"{side} syncs: {outcome.reason} {outcome.message}")
        assert outcome.reason not in ("Failed", "BranchGone", "PushRefused")

    def edit(self, side: str) -> None:
        """A person edits a line of their own into a file and saves."""
        key, path = self.key(), self.folder / side / self.dice.choice(NAMES)
        path.write_bytes(add(self.dice.choice(SECTIONS), f"# {key}")(path.read_bytes()) or b"")
        self.by_hand.append(key)
        self.told.append(f"{side} edits {key} in {path.name}")

    def stage(self, side: str) -> None:
        plain.git(self.folder / side, "add", self.dice.choice(NAMES))
        self.told.append(f"{side} stages")

    def commit(self, side: str, *, everything: bool = False) -> None:
        """A person commits what is staged, or all."""
        some = ["--all"] if everything or self.dice.random() < 0.5 else []
        plain.git(self.folder / side, "commit", "--quiet", *some, "--message", f"by hand {self.key()}", code=None)
        self.told.append(f"{side} commits {some}")

    def push(self) -> None:
        """The third party pushes a commit."""
        if self.up():
            self._third("origin/main")

    def force(self) -> None:
        """The third party throws the newest commit away and pushes another in its place."""
        if not self.up():
            return
        plain.git(self.third, "fetch", "--quiet")
        old = plain.git(self.third, "rev-parse", "origin/main").strip()
        back = self.dice.choice(["origin/main~1", "origin/main~2"])
        if plain.git(self.third, "rev-parse", "--verify", "--quiet", back, code=None):
            self._third(back, "--force")
            self.dropped |= set(plain.git(self.third, "log", "--format=%s", old, "^HEAD").splitlines())

    def _third(self, start: str, *how: str) -> None:
        plain.git(self.third, "fetch", "--quiet")
        plain.git(self.third, "reset", "--quiet", "--hard", start)
        key, path = self.key(), self.third / self.dice.choice(NAMES)
        path.write_bytes(add(self.dice.choice(SECTIONS), f"{key}: theirs")(path.read_bytes()) or b"")
        plain.git(self.third, "commit", "--quiet", "--all", "--message", f"Theirs {key}")
        plain.git(self.third, "push", "--quiet", *how, "origin", "HEAD:main")
        self.told.append(f"the third party pushes {key} on {start}")

    def outage(self) -> None:
        here, away = self.folder / "remote.git", self.folder / "away.git"
        (here.rename(away) if here.exists() else away.rename(here))
        self.told.append("outage begins or ends")

    async def finale(self) -> None:
        """The remote is there, people commit and settle, and all syncs until nothing is left to do."""
        if not self.up():
            self.outage()
        for side in SIDES:
            self.commit(side, everything=True)
        for _ in range(8):
            outcomes = [await self.settle(side) for side in SIDES]
            self.told += [f"{outcome.reason}: {outcome.message}" for outcome in outcomes]
            if all(outcome.reason == "InSync" for outcome in outcomes):
                return
        raise AssertionError("it doesn't come to rest")

    async def settle(self, side: str) -> Outcome:
        """Sync, and in a conflict do what the message says; both sides' lines are kept."""
        outcome = await self.remotes[side].sync()
        if outcome.reason == "Conflict":
            (command,) = re.findall(r"`git (rebase (?:--onto )?origin/main[^`]*)`", outcome.message)
            attributes = self.folder / side / ".git" / "info" / "attributes"
            attributes.parent.mkdir(exist_ok=True)
            attributes.write_text("*.yaml merge=union\n")
            plain.git(self.folder / side, *command.split())
            attributes.unlink()
            self.told.append(f"{side} settles: {command}")
        return outcome

    def look(self) -> None:
        """At any time: nothing half done, and git works."""
        plain.git(self.folder / self.dice.choice(SIDES), "status", "--porcelain")
        for side in SIDES:
            for name in ("MERGE_HEAD", "rebase-merge", "rebase-apply", "index.lock", "sparkkeep-move"):
                assert not (self.folder / side / ".git" / name).exists(), name
            for name in NAMES:
                assert "<<<<<<<" not in (self.folder / side / name).read_text()

    def judge(self) -> None:
        """At the end."""
        bare = self.folder / "remote.git"
        tip = "".join(plain.git(bare, "show", f"main:{name}") for name in NAMES)
        subjects = plain.git(bare, "log", "--format=%s", "main").splitlines()
        kept = self.kept()
        for comment in set(COMMENTS):
            assert tip.count(f"{comment}\n") == len(NAMES) * COMMENTS.count(comment), f"the comment {comment!r}"
        for key in self.accepted:
            subject = f"Add {key}"
            if subject in self.dropped and subject not in subjects:
                assert f"  {key}: {{}}" in kept, f"{subject} was thrown away and is not kept"
            else:
                assert (subjects.count(subject), tip.count(f"  {key}: {{}}\n")) == (1, 1), subject
        for key in self.refused:
            assert key not in tip + kept, f"{key} was refused"
        for key in self.by_hand:
            assert tip.count(f"# {key}\n") == 1 or (key not in tip and f"# {key}\n" in kept), f"the hand edit {key}"
        for side in SIDES:
            for name in NAMES:
                assert (self.folder / side / name).read_text() == plain.git(bare, "show", f"main:{name}")
            assert plain.git(self.folder / side, "status", "--porcelain") == ""
            plain.sound(self.folder / side)

    def kept(self) -> str:
        """The files at each tip that sparkkeep kept."""
        found = ""
        for side in SIDES:
            refs = plain.git(self.folder / side, "for-each-ref", "--format=%(refname)", "refs/sparkkeep/kept").split()
            found += "".join(plain.git(self.folder / side, "show", f"{ref}:{name}") for ref in refs for name in NAMES)
        return found


@pytest.mark.parametrize("seed", range(COUNT))
async def test_nothing_is_lost_or_doubled(
    seed: int, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in plain.ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("state.remote.PAUSE", 0.002)
    shutil.copytree(template, tmp_path / "world", symlinks=True)
    world = World(tmp_path / "world", seed)
    await world.open()
    try:
        for _ in range(EVENTS):
            await world.event()
            world.look()
        await world.finale()
        world.judge()
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *world.told])) from error
    finally:
        shutil.rmtree(tmp_path / "world", ignore_errors=True)
