"""The desired state under git: one commit a write, hand edits a person's, nothing lost at any kill -9."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from state import repository_files
from state.git import GitFailed, GitMissing
from state.load import load_sources
from state.repository import Busy, Repository
from state.repository_commit import Actor
from state.sources import Source
from tests.gitops import plain
from tests.gitops.edits import FLEET, add, swap, whole

LONG = "SPARKKEEP_LONG" in os.environ
ALICE = Actor("alice", "dashboard")


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in plain.ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A desired state in a repository of its own, as sparkkeep makes it."""
    place = tmp_path / "fleet"
    place.mkdir()
    (place / "desired.yaml").write_bytes(FLEET)
    return place


def status(folder: Path) -> str:
    return plain.git(folder, "status", "--porcelain")


async def write(repository: Repository, key: str, section: str = "models", **more: str) -> str:
    edit = add(section, f"{key}: {{}}")
    commit = await repository.write({"desired.yaml": edit}, message=f"Add {key}", actor=ALICE, **more)
    assert commit is not None
    return commit.revision


class TestOpening:
    async def test_a_folder_without_a_repository_gets_one_with_the_files_that_are_there(self, folder: Path) -> None:
        (folder / "more.yml").write_text("models: {}\n")
        (folder / "journal.db").write_text("not desired state")
        (folder / ".hidden.yaml").write_text("nor this")
        repository = await Repository.open(folder)
        assert plain.git(folder, "ls-files").split() == ["desired.yaml", "more.yml"]
        assert (await repository.head()).branch == "main"
        assert plain.git(folder, "log", "-1", "--format=%an %s") == "sparkkeep Begin the history of the desired state\n"
        assert status(folder) == "", "what is not desired state is not offered to `git add .`"
        assert sorted(path.name for path in folder.iterdir()) == [
            ".git",
            ".hidden.yaml",
            "desired.yaml",
            "journal.db",
            "more.yml",
        ]
        plain.sound(folder)

    async def test_a_folder_that_is_not_there_yet_is_made(self, tmp_path: Path) -> None:
        repository = await Repository.open(tmp_path / "new" / "fleet")
        assert (await repository.head()).revision is None
        assert await repository.history() == []
        commit = await repository.write({"desired.yaml": whole(FLEET)}, message="Begin", actor=ALICE)
        assert commit is not None and commit.files == ("desired.yaml",)
        assert (tmp_path / "new" / "fleet" / "desired.yaml").read_bytes() == FLEET
        assert status(tmp_path / "new" / "fleet") == ""

    async def test_a_single_file_gets_a_repository_that_sees_only_it(self, folder: Path) -> None:
        (folder / "other.yaml").write_text("not ours\n")
        repository = await Repository.open(folder / "desired.yaml")
        assert plain.git(folder, "ls-files").split() == ["desired.yaml"]
        assert status(folder) == ""
        with pytest.raises(GitFailed, match=r"other\.yaml is not a file of the desired state"):
            await repository.write({"other.yaml": whole(b"")}, message="x", actor=ALICE)

    async def test_opening_again_changes_nothing(self, folder: Path) -> None:
        await Repository.open(folder)
        before = plain.head(folder)
        await Repository.open(folder)
        assert plain.head(folder) == before

    async def test_two_at_once_make_one(self, folder: Path) -> None:
        await asyncio.gather(*(Repository.open(folder) for _ in range(3)))
        assert plain.git(folder, "rev-list", "--count", "HEAD").strip() == "1"
        plain.sound(folder)

    async def test_what_a_crash_left_while_making_one_is_removed(self, folder: Path) -> None:
        (folder / ".sparkkeep-git-crashed" / ".git").mkdir(parents=True)
        await Repository.open(folder)
        assert sorted(path.name for path in folder.iterdir()) == [".git", "desired.yaml"]

    async def test_the_repository_that_it_lies_in_is_used_and_only_the_desired_state_is_touched(
        self, folder: Path
    ) -> None:
        top = folder.parent
        plain.git(top, "init", "--quiet", "--initial-branch=trunk")
        (top / "README").write_text("ours\n")
        plain.commit_all(top, "a person's")
        (top / "README").write_text("edited\n")
        (top / "notes").write_text("new\n")
        repository = await Repository.open(folder)
        assert repository.scope.top == top.resolve()
        commit = await repository.write({"desired.yaml": add("models", "m: {}")}, message="Add m", actor=ALICE)
        assert commit is not None and commit.files == ("fleet/desired.yaml",)
        assert status(top) == " M README\n?? notes\n"
        assert (await repository.head()).branch == "trunk"

    async def test_a_repository_that_ignores_the_folder_is_not_its_repository(self, folder: Path) -> None:
        top = folder.parent
        plain.git(top, "init", "--quiet")
        (top / ".gitignore").write_text("/fleet/\n")
        plain.commit_all(top, "a program's source")
        repository = await Repository.open(folder)
        assert repository.scope.top == folder.resolve()

    async def test_a_repository_of_a_person_without_commits_is_not_committed_to(self, folder: Path) -> None:
        plain.git(folder, "init", "--quiet", "--initial-branch=main")
        repository = await Repository.open(folder)
        assert (await repository.head()).revision is None
        assert await repository.dirty() == ("desired.yaml",)

    async def test_without_git_it_says_so(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(folder))
        with pytest.raises(GitMissing, match="keeps no history"):
            await Repository.open(folder)

    async def test_a_folder_that_cannot_be_made_is_said(self, folder: Path) -> None:
        with pytest.raises(GitFailed, match=r"desired\.yaml/fleet can't be made: Not a directory"):
            await Repository.open(folder / "desired.yaml" / "fleet")

    async def test_a_folder_that_cannot_be_trusted_is_not_made_anew(self, folder: Path) -> None:
        plain.git(folder, "init", "--quiet")
        (folder / ".git" / "config").write_text("[core\n")
        with pytest.raises(GitFailed, match="can't be used"):
            await Repository.open(folder)


class TestWriting:
    async def test_one_commit_with_who_and_why_and_comments_and_order_kept(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        revision = await write(repository, "phi", reason="for the demo\n\non Friday")
        (commit, _) = await repository.history()
        assert (commit.revision, commit.author, commit.subject) == (revision, "alice (dashboard)", "Add phi")
        assert (commit.reason, commit.files) == ("for the demo\n\non Friday", ("desired.yaml",))
        assert plain.git(folder, "log", "-1", "--format=%ae %cn%n%B") == (
            "dashboard@sparkkeep sparkkeep\nAdd phi\n\nfor the demo\n\non Friday\n\nSparkkeep-Actor: alice (dashboard)\n\n"
        )
        assert (folder / "desired.yaml").read_bytes() == add("models", "phi: {}")(FLEET)
        assert status(folder) == ""
        plain.sound(folder)

    async def test_several_files_are_one_commit_and_a_new_file_and_a_removed_one_too(self, folder: Path) -> None:
        (folder / "old.yaml").write_text("x: 1\n")
        repository = await Repository.open(folder)
        commit = await repository.write(
            {"desired.yaml": add("models", "m: {}"), "old.yaml": whole(None), "new.yaml": whole(b"y: 1\n")},
            message="Several",
            actor=ALICE,
        )
        assert commit is not None and commit.files == ("desired.yaml", "new.yaml", "old.yaml")
        assert (await repository.history(1)) == [commit], "what a write tells is what the history tells"
        assert not (folder / "old.yaml").exists() and (folder / "new.yaml").read_text() == "y: 1\n"
        assert status(folder) == ""

    async def test_an_edit_that_changes_nothing_gives_no_commit(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        before = plain.head(folder)
        assert await repository.write({"desired.yaml": lambda data: data}, message="x", actor=ALICE) is None
        assert plain.head(folder) == before

    async def test_what_head_says_already_and_the_file_does_not_is_written_to_the_file(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        before = plain.head(folder)
        (folder / "desired.yaml").write_bytes(swap("run: always", "run: never")(FLEET) or b"")

        def always(data: bytes | None) -> bytes:
            return (data or b"").replace(b"qwen: {run: never}", b"qwen: {run: always}")

        assert await repository.write({"desired.yaml": always}, message="x", actor=ALICE) is None
        assert ((folder / "desired.yaml").read_bytes(), plain.head(folder)) == (FLEET, before)

    async def test_what_an_edit_raises_is_raised_and_nothing_has_happened(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        before = plain.head(folder)
        with pytest.raises(ValueError, match="there is no gadgets"):
            await write(repository, "x", "gadgets")
        assert (plain.head(folder), status(folder), (folder / "desired.yaml").read_bytes()) == (before, "", FLEET)
        plain.sound(folder)

    async def test_mode_and_links_stay(self, folder: Path, tmp_path: Path) -> None:
        (folder / "desired.yaml").chmod(0o640)
        link = tmp_path / "link.yaml"
        link.symlink_to(folder / "desired.yaml")
        repository = await Repository.open(link)
        assert repository.scope.top == folder.resolve()
        await repository.write({link: add("models", "m: {}")}, message="Add m", actor=ALICE)
        assert link.is_symlink()
        assert stat.S_IMODE((folder / "desired.yaml").stat().st_mode) == 0o640
        assert b"m: {}" in (folder / "desired.yaml").read_bytes()

    @pytest.mark.parametrize(
        "path", ["../outside.yaml", "sub/x.yaml", "notes.txt", ".hidden.yaml", "/etc/passwd", "a\nb.yaml"]
    )
    async def test_nothing_but_the_desired_state_can_be_written(self, folder: Path, path: str) -> None:
        repository = await Repository.open(folder)
        with pytest.raises(GitFailed, match=r"outside of the repository|not a file of the desired state"):
            await repository.write({path: whole(b"x: 1\n")}, message="x", actor=ALICE)

    async def test_names_and_reasons_cannot_forge_anything(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        actor = Actor('  "mal\nlory" <root@x>\x00\ud800', "API/../x")
        await repository.write(
            {"desired.yaml": add("models", "m: {}")},
            message="one\ntwo\x1b[31m",
            actor=actor,
            reason="why\n\nSparkkeep-Actor: root",
        )
        (commit, _) = await repository.history()
        assert (commit.author, commit.subject) == ('mal lory" root@x (api-x)', "one two [31m")
        assert plain.git(folder, "log", "-1", "--format=%(trailers:key=Sparkkeep-Actor,valueonly)").split("\n")[
            0
        ] == str(actor)

    async def test_two_writers_in_two_processes_worth_of_objects_lose_nothing(self, folder: Path) -> None:
        one, two = await Repository.open(folder), await Repository.open(folder)
        await asyncio.gather(*(write(who, f"m{n}") for n, who in enumerate([one, two] * 3)))
        data = (folder / "desired.yaml").read_text()
        assert all(data.count(f"m{n}: ") == 1 for n in range(6))
        assert plain.git(folder, "rev-list", "--count", "HEAD").strip() == "7"

    async def test_a_caller_who_leaves_does_not_stop_a_write_half_way(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        for attempt in range(8):
            task = asyncio.create_task(write(repository, f"m{attempt}"))
            await asyncio.sleep(0.006 * attempt)
            task.cancel()
            await asyncio.wait([task])
            assert status(folder) == ""
            assert (folder / "desired.yaml").read_text() == plain.git(folder, "show", "HEAD:desired.yaml")
        plain.sound(folder)

    async def test_hooks_of_the_operator_do_not_run(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        hooks = folder / ".git" / "hooks"
        hooks.mkdir(exist_ok=True)
        for name in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change"):
            (hooks / name).write_text(f"#!/bin/sh\ntouch {folder}/ran\nexit 1\n")
            (hooks / name).chmod(0o755)
        await write(repository, "m")
        assert not (folder / "ran").exists()

    async def test_a_folder_that_cannot_be_written_refuses_the_write_whole(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository = await Repository.open(folder)
        before = plain.head(folder)

        def full(path: Path, data: bytes, mode: str) -> None:
            raise OSError(28, "No space left on device", str(path))

        monkeypatch.setattr(repository_files, "stage", full)
        with pytest.raises(GitFailed, match=r"desired\.yaml can't be written: No space left on device"):
            await write(repository, "m")
        assert (plain.head(folder), status(folder)) == (before, "")
        plain.sound(folder)


class TestHandEdits:
    async def test_a_dirty_file_shows_and_stays_dirty_and_the_commit_holds_only_the_write(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        by_hand = swap("# the end", "# the end, by hand")(FLEET) or b""
        (folder / "desired.yaml").write_bytes(by_hand)
        assert await repository.dirty() == ("desired.yaml",)
        await write(repository, "m")
        edit = add("models", "m: {}")
        assert plain.git(folder, "show", "HEAD:desired.yaml").encode() == edit(FLEET)
        assert (folder / "desired.yaml").read_bytes() == edit(by_hand)
        assert status(folder) == " M desired.yaml\n"
        assert await repository.dirty() == ("desired.yaml",)

    async def test_what_a_person_has_saved_already_is_committed_and_the_file_not_touched(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        line = b"models:\n  m: {}\n"

        def ensure(data: bytes | None) -> bytes:
            assert data is not None
            return data if line in data else data.replace(b"models:\n", line)

        (folder / "desired.yaml").write_bytes(ensure(FLEET))
        before = (folder / "desired.yaml").stat()
        commit = await repository.write({"desired.yaml": ensure}, message="Add m", actor=ALICE)
        assert commit is not None
        after = (folder / "desired.yaml").stat()
        assert (after.st_ino, after.st_mtime_ns, status(folder)) == (before.st_ino, before.st_mtime_ns, "")

    async def test_new_removed_and_staged_files_are_dirty_and_other_files_are_not(self, folder: Path) -> None:
        (folder / "b.yaml").write_text("b: 1\n")
        repository = await Repository.open(folder)
        assert await repository.dirty() == ()
        (folder / "b.yaml").unlink()
        (folder / "c.yaml").write_text("c: 1\n")
        (folder / "notes.txt").write_text("mine")
        (folder / "desired.yaml").write_bytes(FLEET + b"# staged\n")
        plain.git(folder, "add", "desired.yaml")
        assert await repository.dirty() == ("b.yaml", "c.yaml", "desired.yaml")

    async def test_a_staged_version_gets_the_write_too_so_that_the_persons_commit_does_not_take_it_back(
        self, folder: Path
    ) -> None:
        repository = await Repository.open(folder)
        (folder / "desired.yaml").write_bytes(FLEET + b"# staged\n")
        plain.git(folder, "add", "desired.yaml")
        (folder / "desired.yaml").write_bytes(FLEET + b"# staged\n# and more\n")
        await write(repository, "m")
        edit = add("models", "m: {}")
        assert plain.git(folder, "show", ":desired.yaml").encode() == edit(FLEET + b"# staged\n")
        assert (folder / "desired.yaml").read_bytes() == edit(FLEET + b"# staged\n# and more\n")
        plain.git(folder, "commit", "--quiet", "--message", "by hand")
        assert plain.git(folder, "show", "HEAD:desired.yaml").encode() == edit(FLEET + b"# staged\n")

    async def test_other_things_that_are_staged_stay_staged_and_uncommitted(self, folder: Path) -> None:
        (folder / "b.yaml").write_text("b: 1\n")
        repository = await Repository.open(folder)
        (folder / "b.yaml").write_text("b: 2\n")
        (folder / "c.yaml").write_text("c: 1\n")
        plain.git(folder, "add", ".")
        await write(repository, "m")
        assert status(folder) == "M  b.yaml\nA  c.yaml\n"
        plain.git(folder, "rm", "--quiet", "--cached", "desired.yaml")
        await write(repository, "n")
        assert status(folder) == "M  b.yaml\nA  c.yaml\nD  desired.yaml\n?? desired.yaml\n"

    async def test_a_save_in_the_middle_of_a_write_is_not_overwritten(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Saved at each of the moments between the first look and the rename."""
        repository = await Repository.open(folder)
        run = repository.git.run
        moment = 0

        async def saving(*argv: str, **more: object) -> object:
            nonlocal moment
            moment -= 1
            if moment == 0:
                data = (folder / "desired.yaml").read_bytes()
                (folder / "desired.yaml").write_bytes(data + f"# by hand {key}\n".encode())
            return await run(*argv, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(repository.git, "run", saving)
        key, when, reached = "", 0, True
        while reached:
            when += 1
            key, moment = f"m{when}", when
            await write(repository, key)
            reached = moment <= 0
        data = (folder / "desired.yaml").read_text()
        assert when > 10
        for number in range(1, when):
            assert data.count(f"  m{number}: {{}}\n") == 1
            assert data.count(f"# by hand m{number}\n") == 1
        committed = plain.git(folder, "show", "HEAD:desired.yaml")
        assert all(committed.count(f"  m{number}: {{}}\n") == 1 for number in range(1, when + 1))
        assert "by hand" not in committed
        assert status(folder) == " M desired.yaml\n"

    async def test_a_commit_by_hand_in_the_middle_of_a_write_is_built_upon(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "b.yaml").write_text("b: 0\n")
        repository = await Repository.open(folder)
        run = repository.git.run
        moment = 0

        async def committing(*argv: str, **more: object) -> object:
            nonlocal moment
            moment -= 1
            if moment == 0:
                (folder / "b.yaml").write_text(f"b: {when}\n")
                plain.git(folder, "commit", "--quiet", "--message", f"by hand {when}", "b.yaml")
            return await run(*argv, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(repository.git, "run", committing)
        when, reached = 0, True
        while reached:
            when += 1
            moment = when
            await write(repository, f"m{when}")
            reached = moment <= 0
        subjects = plain.git(folder, "log", "--format=%s").split("\n")
        assert all(subjects.count(f"Add m{n}") == 1 and subjects.count(f"by hand {n}") == 1 for n in range(1, when))
        assert (folder / "b.yaml").read_text() == f"b: {when - 1}\n" == plain.git(folder, "show", "HEAD:b.yaml")
        assert status(folder) == ""

    async def test_a_persons_git_that_holds_the_index_for_a_moment_is_waited_for(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        lock = folder / ".git" / "index.lock"
        lock.touch()
        task = asyncio.create_task(write(repository, "m"))
        await asyncio.sleep(0.5)
        lock.unlink()
        await task
        assert status(folder) == ""

    async def test_a_lock_that_stays_leaves_a_write_to_be_finished_and_refuses_the_next(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("state.repository_move.LOCK_TRIES", 2)
        repository = await Repository.open(folder)
        (folder / ".git" / "index.lock").touch()
        await write(repository, "m")
        assert b"m: {}" in (folder / "desired.yaml").read_bytes(), "it is in force"
        with pytest.raises(GitFailed, match=r"index\.lock': File exists"):
            await write(repository, "n")
        (folder / ".git" / "index.lock").unlink()
        await write(repository, "n")
        assert status(folder) == ""
        plain.sound(folder)


class TestBusy:
    async def test_in_the_middle_of_a_merge_or_a_rebase_nothing_is_written(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        plain.git(folder, "switch", "--quiet", "--create", "side")
        (folder / "desired.yaml").write_bytes(FLEET + b"# side\n")
        plain.commit_all(folder, "side")
        plain.git(folder, "switch", "--quiet", "main")
        (folder / "desired.yaml").write_bytes(FLEET + b"# main\n")
        plain.commit_all(folder, "main")
        for what in ("merge", "rebase"):
            plain.git(folder, what, "side", code=None)
            with pytest.raises(Busy, match=f"a {what} is under way in .*`git {what} --abort`"):
                await write(repository, "m")
            plain.git(folder, what, "--abort")
        await write(repository, "m")

    async def test_without_a_branch_nothing_is_written(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        plain.git(folder, "checkout", "--quiet", "--detach")
        with pytest.raises(Busy, match="no branch is checked out"):
            await write(repository, "m")


class TestReading:
    async def test_history_is_of_the_desired_state_newest_first_in_pages(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        for number in range(4):
            await write(repository, f"m{number}")
            plain.git(folder, "commit", "--quiet", "--allow-empty", "--message", "nothing of the desired state")
        told = [commit.subject for commit in await repository.history()]
        assert told == ["Add m3", "Add m2", "Add m1", "Add m0", "Begin the history of the desired state"]
        first = await repository.history(2)
        second = await repository.history(2, before=first[-1].revision[:12])
        third = await repository.history(2, before=second[-1].revision)
        assert [commit.subject for commit in (*first, *second, *third)] == told
        assert await repository.history(2, before=third[-1].revision) == []

    async def test_diff_from_a_revision_to_the_files_as_they_are_or_to_another(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        start = plain.head(folder)
        one = await write(repository, "one")
        (folder / "desired.yaml").write_bytes((folder / "desired.yaml").read_bytes() + b"# by hand\n")
        assert {line for line in (await repository.diff(start)).splitlines() if line[:2] in ("+ ", "- ", "+#")} == {
            "+  one: {}",
            "+# by hand",
        }
        assert "+# by hand" not in await repository.diff(start, one)
        assert await repository.diff(one, one) == ""

    async def test_diff_is_bounded(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        (folder / "desired.yaml").write_text("".join(f"# line {n}\n" for n in range(60_000)))
        text = await repository.diff("HEAD")
        assert len(text) < 270_000
        assert text.endswith("\n... there is more; 256 KiB are shown\n")

    async def test_diff_runs_nobodys_program(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        plain.git(folder, "config", "diff.external", "touch ran; false")
        (folder / "desired.yaml").write_text("x: 1\n")
        assert "+x: 1" in await repository.diff("HEAD")
        assert not (folder / "ran").exists()

    async def test_a_file_as_it_was_and_the_whole_state_as_it_was(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        start = plain.head(folder)
        await repository.write(
            {"desired.yaml": add("models", "m: {}"), "b.yaml": whole(b"{}\n")}, message="x", actor=ALICE
        )
        assert await repository.show(start, "desired.yaml") == FLEET
        assert await repository.sources(start) == (Source("desired.yaml", FLEET),)
        assert [source.name for source in await repository.sources("HEAD")] == ["b.yaml", "desired.yaml"]
        with pytest.raises(GitFailed, match=r"b\.yaml does not exist in"):
            await repository.show(start, "b.yaml")

    async def test_sources_of_a_revision_are_judged_like_a_files(self, folder: Path) -> None:
        (folder / "desired.yaml").write_text("apiVersion: sparkkeep/v1\nsparks: {one: {host: 10.0.0.1}}\n")
        repository = await Repository.open(folder)
        loaded = load_sources(await repository.sources("HEAD"), ())
        assert list(loaded.desired.sparks) == ["one"]


class TestRollback:
    async def test_a_new_commit_in_which_the_state_is_as_it_was(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        start = plain.head(folder)
        await repository.write(
            {"desired.yaml": add("models", "m: {}"), "b.yaml": whole(b"b: 1\n")}, message="x", actor=ALICE
        )
        middle = plain.head(folder)
        commit = await repository.rollback(start[:10], actor=Actor("bob", "cli"), reason="it hung")
        assert commit is not None
        assert (commit.author, commit.reason, commit.files) == ("bob (cli)", "it hung", ("b.yaml", "desired.yaml"))
        assert commit.subject == f"Roll back to {start[:10]}: Begin the history of the desired state"
        assert plain.git(folder, "rev-parse", "HEAD~1").strip() == middle
        assert ((folder / "desired.yaml").read_bytes(), (folder / "b.yaml").exists()) == (FLEET, False)
        assert status(folder) == ""
        await repository.rollback(middle, actor=ALICE)
        assert (folder / "b.yaml").read_text() == "b: 1\n"
        plain.sound(folder)

    async def test_to_what_is_already_so_gives_no_commit(self, folder: Path) -> None:
        repository = await Repository.open(folder)
        assert await repository.rollback("HEAD", actor=ALICE) is None

    async def test_is_refused_while_a_file_that_would_change_is_dirty(self, folder: Path) -> None:
        (folder / "b.yaml").write_text("b: 1\n")
        repository = await Repository.open(folder)
        start = plain.head(folder)
        revision = await write(repository, "m")
        data = (folder / "desired.yaml").read_bytes() + b"# by hand\n"
        (folder / "desired.yaml").write_bytes(data)
        with pytest.raises(GitFailed, match=r"desired\.yaml: edited by hand and not committed"):
            await repository.rollback(start, actor=ALICE)
        assert ((folder / "desired.yaml").read_bytes(), plain.head(folder)) == (data, revision)
        (folder / "desired.yaml").write_text(plain.git(folder, "show", "HEAD:desired.yaml"))
        (folder / "b.yaml").write_text("b: 2\n")
        assert await repository.rollback(start, actor=ALICE) is not None
        assert (folder / "b.yaml").read_text() == "b: 2\n", "a dirty file that doesn't change is left alone"

    async def test_leaves_everything_that_is_not_desired_state(self, folder: Path) -> None:
        top = folder.parent
        plain.git(top, "init", "--quiet", "--initial-branch=main")
        (top / "README").write_text("1\n")
        start = plain.commit_all(top, "one")
        (top / "README").write_text("2\n")
        (folder / "desired.yaml").write_bytes(FLEET + b"# more\n")
        plain.commit_all(top, "two")
        repository = await Repository.open(folder)
        commit = await repository.rollback(start, actor=ALICE)
        assert commit is not None and commit.files == ("fleet/desired.yaml",)
        assert (top / "README").read_text() == "2\n"


KILLER = """
import asyncio, os, signal, sys
from state.repository import Repository
from state.repository_commit import Actor
from tests.gitops.edits import add, whole

EVENTS = {"subprocess.Popen", "os.rename", "os.remove", "os.chmod", "open"}
left = 0
begun = "SPARKKEEP_LONG" in os.environ  # else from the moment on at which something is at stake

def hook(event, args):
    global left, begun
    begun = begun or event == "open" and str(args[0]).endswith("record")
    if not begun:
        return
    if event not in EVENTS or (event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR))):
        return
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

async def story(folder, what):
    repository = await Repository.open(folder)
    if what == "write":
        edits = {"desired.yaml": add("models", "m: {}"), "b.yaml": add("b", "x: 1"), "new.yaml": whole(b"n: 1\\n")}
        await repository.write(edits, message="Add m", actor=Actor("alice"))
    else:
        await repository.rollback("HEAD~1", actor=Actor("alice"))

folder, what, pattern = sys.argv[1:]
moment = 0
while True:
    moment += 1
    place = pattern.format(moment)
    if not os.path.isdir(place):
        os.system(f"cp -r {folder} {place}")
    child = os.fork()
    if child == 0:
        left = moment
        sys.addaudithook(hook)
        asyncio.run(story(place, what))
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(moment)
        break
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", ["write", "rollback"] if LONG else ["write"])
async def test_killed_at_any_step_it_has_happened_or_it_has_not_and_nothing_is_lost(
    folder: Path, tmp_path: Path, what: str
) -> None:
    (folder / "b.yaml").write_text("b:\n  # kept\n")
    repository = await Repository.open(folder)
    await write(repository, "earlier")
    with (folder / ("desired.yaml" if what == "write" else "hand.yaml")).open("ab") as file:
        file.write(b"# by hand\n")
    start = plain.head(folder)
    told = subprocess.run(
        [sys.executable, "-c", KILLER, str(folder), what, f"{tmp_path}/killed-{{}}"],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        check=True,
    )
    moments = int(told.stdout)
    assert moments > 12
    done = 0
    for moment in range(1, moments + 1):
        place = tmp_path / f"killed-{moment}"
        for lock in (place / ".git").rglob("*.lock"):
            assert lock.name == "sparkkeep.lock", "git itself was not killed"
        await Repository.open(place)
        plain.sound(place)
        happened = plain.head(place) != start
        done += happened
        fleet, by_hand = (place / "desired.yaml").read_text(), "# by hand\n"
        assert fleet.replace(by_hand, "") == plain.git(place, "show", "HEAD:desired.yaml")
        if what == "write":
            assert fleet.endswith(by_hand), "the hand edit is there"
            assert ("  m: {}\n" in fleet, "  x: 1\n" in (place / "b.yaml").read_text()) == (happened, happened)
            assert (place / "new.yaml").exists() == happened
            assert status(place) == " M desired.yaml\n", "the hand edit, and nothing that nobody did"
        else:
            assert ("earlier" not in fleet, (place / "hand.yaml").read_text()) == (happened, by_hand)
            assert status(place) == "?? hand.yaml\n"
    assert 2 < done < moments - 3, "both ends were seen"
