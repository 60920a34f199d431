"""With a remote: pulled, rebased when clean, pushed; a conflict is a condition; a rewritten remote is followed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from state.git import GitFailed
from state.remote import Outcome, Remote
from state.repository import Repository
from state.repository_commit import Actor
from tests.gitops import plain
from tests.gitops.edits import FLEET, add

ALICE = Actor("alice", "api")


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in plain.ENVIRON.items():
        monkeypatch.setenv(name, value)


class World:
    """A remote, the clone that sparkkeep keeps, and the clone of a colleague."""

    def __init__(self, folder: Path) -> None:
        self.bare = folder / "remote.git"
        self.other = folder / "other"
        self.ours = folder / "ours"
        self.time = 1_000_000_000.0

    async def open(self) -> None:
        self.repository = await Repository.open(self.ours)
        self.remote = await Remote.open(self.repository, now=lambda: self.time)

    async def write(self, key: str, section: str = "models") -> str:
        edit = add(section, f"{key}: {{}}")
        commit = await self.repository.write({"desired.yaml": edit}, message=f"Add {key}", actor=ALICE, reason="why")
        assert commit is not None
        return commit.revision

    def theirs(self, key: str, section: str = "models", *, force: bool = False) -> str:
        """A colleague's commit, pushed."""
        path = self.other / "desired.yaml"
        path.write_bytes(add(section, f"{key}: {{}}")(path.read_bytes()) or b"")
        revision = plain.commit_all(self.other, f"Theirs {key}")
        plain.git(self.other, "push", "--quiet", *(["--force"] if force else []), "origin", "HEAD:main")
        return revision

    def tip(self) -> str:
        return plain.git(self.bare, "rev-parse", "main").strip()

    def fleet(self) -> str:
        return (self.ours / "desired.yaml").read_text()

    def status(self) -> str:
        return plain.git(self.ours, "status", "--porcelain")

    def subjects(self, where: Path | None = None, revision: str = "HEAD") -> list[str]:
        return plain.git(where or self.ours, "log", "--format=%s", revision).splitlines()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {"desired.yaml": FLEET, "README": b"ours\n"}
    return plain.template(tmp_path_factory.mktemp("template"), files, ("other", "ours"))


@pytest.fixture
async def world(template: Path, tmp_path: Path) -> World:
    shutil.copytree(template, tmp_path, symlinks=True, dirs_exist_ok=True)
    made = World(tmp_path)
    await made.open()
    return made


async def test_nothing_to_do(world: World) -> None:
    outcome = await world.remote.sync()
    assert (outcome.reason, outcome.moved, outcome.good) == ("InSync", False, True)
    assert outcome.message == "origin/main and this repository are the same"
    assert outcome.condition().status == "True"


async def test_a_write_is_pushed(world: World) -> None:
    revision = await world.write("m")
    outcome = await world.remote.sync()
    assert (outcome.reason, outcome.revision, world.tip()) == ("Pushed", revision, revision)


async def test_what_a_colleague_pushed_is_taken_over_with_files_that_are_not_desired_state(world: World) -> None:
    (world.other / "README").write_text("changed\n")
    (world.other / "bin").mkdir()
    (world.other / "bin" / "run").write_text("#!/bin/sh\n")
    (world.other / "bin" / "run").chmod(0o755)
    (world.other / "link").symlink_to("README")
    theirs = world.theirs("t")
    outcome = await world.remote.sync()
    assert (outcome.reason, outcome.moved, plain.head(world.ours)) == ("FastForwarded", True, theirs)
    assert "  t: {}\n" in world.fleet()
    assert (world.ours / "link").readlink() == Path("README")
    assert (world.ours / "bin" / "run").stat().st_mode & 0o111
    assert world.status() == ""
    plain.git(world.other, "rm", "--quiet", "-r", "bin", "link")
    world.theirs("u")
    await world.remote.sync()
    assert sorted(path.name for path in world.ours.iterdir()) == [".git", "README", "desired.yaml"]
    assert world.status() == ""


async def test_who_comes_second_rebases_and_keeps_author_message_and_time(world: World) -> None:
    await world.write("m", "services")
    before = plain.git(world.ours, "log", "-1", "--format=%an %ae %at %B")
    theirs = world.theirs("t")
    outcome = await world.remote.sync()
    assert (outcome.reason, outcome.moved, world.tip()) == ("Rebased", True, plain.head(world.ours))
    assert plain.git(world.ours, "rev-parse", "HEAD~1").strip() == theirs
    assert plain.git(world.ours, "log", "-1", "--format=%an %ae %at %B") == before
    assert "  t: {}\n" in world.fleet() and "  m: {}\n" in world.fleet()
    assert world.status() == ""
    plain.sound(world.ours)


async def test_a_change_that_both_made_is_there_once(world: World) -> None:
    await world.write("m")
    world.theirs("m")
    await world.write("n", "services")
    assert (await world.remote.sync()).reason == "Rebased"
    assert world.fleet().count("  m: {}\n") == 1
    assert world.subjects() == ["Add n", "Theirs m", "begin"]


async def test_a_conflict_is_a_condition_and_everything_stays_as_it_was(world: World) -> None:
    first = await world.write("free", "services")
    ours = await world.write("m")
    theirs = world.theirs("t")
    fleet = world.fleet()
    for _ in range(2):
        outcome = await world.remote.sync()
        assert (outcome.reason, outcome.good, outcome.files, outcome.moved) == (
            "Conflict",
            False,
            ("desired.yaml",),
            False,
        )
        assert (outcome.revision, outcome.upstream) == (ours, theirs)
        for part in (
            ours[:10],
            theirs[:10],
            "origin/main",
            "`git rebase origin/main`",
            "desired.yaml",
            "Both are kept",
        ):
            assert part in outcome.message
        assert (plain.head(world.ours), world.tip(), world.fleet(), world.status()) == (ours, theirs, fleet, "")
        plain.sound(world.ours)
    assert first != ours
    condition = outcome.condition()
    assert (condition.type, condition.status, condition.reason) == ("RemoteSynced", "False", "Conflict")
    later = await world.write("later", "services")
    assert plain.git(world.ours, "rev-parse", f"{later}~1").strip() == ours, "writes go on"


async def test_what_the_conflict_tells_a_person_to_do_settles_it(world: World) -> None:
    await world.write("m")
    world.theirs("t")
    assert (await world.remote.sync()).reason == "Conflict"
    plain.git(world.ours, "rebase", "origin/main", code=1)
    outcome = await world.remote.sync()
    assert (outcome.reason, "a rebase is under way" in outcome.message) == ("Busy", True)
    kept = [line for line in world.fleet().splitlines(keepends=True) if line[:3] not in ("<<<", "===", ">>>")]
    (world.ours / "desired.yaml").write_text("".join(kept))
    plain.git(world.ours, "add", "desired.yaml")
    plain.git(world.ours, "-c", "core.editor=true", "rebase", "--continue")
    assert (await world.remote.sync()).reason == "Pushed"
    assert world.tip() == plain.head(world.ours)
    assert "  t: {}\n" in world.fleet() and "  m: {}\n" in world.fleet()


async def test_a_hand_edit_that_is_in_the_way_leaves_everything(world: World) -> None:
    theirs = world.theirs("t")
    (world.ours / "desired.yaml").write_text(world.fleet() + "# by hand\n")
    before = plain.head(world.ours), world.fleet()
    outcome = await world.remote.sync()
    assert (outcome.reason, outcome.files, outcome.upstream) == ("DirtyBehind", ("desired.yaml",), theirs)
    assert (plain.head(world.ours), world.fleet(), world.status()) == (*before, " M desired.yaml\n")
    plain.git(world.ours, "stash", "--quiet")
    assert (await world.remote.sync()).reason == "FastForwarded"
    plain.git(world.ours, "stash", "pop", "--quiet")
    assert world.fleet().endswith("# by hand\n") and "  t: {}\n" in world.fleet()


async def test_a_hand_edit_elsewhere_is_not_in_the_way(world: World) -> None:
    (world.ours / "README").write_text("by hand\n")
    (world.ours / "new").write_text("staged\n")
    plain.git(world.ours, "add", "new")
    await world.write("m", "services")
    world.theirs("t")
    assert (await world.remote.sync()).reason == "Rebased"
    assert world.status() == " M README\nA  new\n"
    assert ((world.ours / "README").read_text(), (world.ours / "new").read_text()) == ("by hand\n", "staged\n")


@pytest.mark.parametrize("ignored", [False, True])
async def test_a_file_of_a_persons_that_the_remote_has_too_is_not_overwritten(world: World, ignored: bool) -> None:
    (world.other / "notes").write_text("theirs\n")
    world.theirs("t")
    (world.ours / "notes").write_text("mine\n")
    if ignored:
        (world.ours / ".git" / "info").mkdir()
        (world.ours / ".git" / "info" / "exclude").write_text("notes\n")
    outcome = await world.remote.sync()
    assert (outcome.reason, outcome.files) == ("DirtyBehind", ("notes",))
    assert (world.ours / "notes").read_text() == "mine\n"
    (world.ours / "notes").write_text("theirs\n")
    assert (await world.remote.sync()).reason == "FastForwarded"
    assert world.status() == ""


async def test_an_outage_is_told_with_its_beginning_and_nothing_is_lost(world: World) -> None:
    world.bare.rename(world.bare.with_name("away"))
    revision = await world.write("m")
    outcome = await world.remote.sync()
    world.time += 600
    again = await world.remote.sync()
    assert (outcome.reason, outcome.since, again.since) == ("RemoteDown", 1_000_000_000.0, 1_000_000_000.0)
    assert (
        "origin can't be reached since 2001-09-09T01:46:40Z; changes are kept here until it can: git fetch"
        in again.message
    )
    world.bare.with_name("away").rename(world.bare)
    assert (await world.remote.sync()).reason == "Pushed"
    assert world.tip() == revision
    world.bare.rename(world.bare.with_name("away"))
    assert (await world.remote.sync()).since == 1_000_000_600.0


async def test_a_push_that_is_overtaken_is_rebased_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.repository.git.run
    pushes = 0

    async def overtaken(*argv: str, **more: object) -> object:
        nonlocal pushes
        if argv[0] == "push":
            pushes += 1
            if pushes <= 2:
                world.theirs(f"t{pushes}")
        return await run(*argv, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(world.repository.git, "run", overtaken)
    await world.write("m", "services")
    outcome = await world.remote.sync()
    assert (outcome.reason, outcome.moved, pushes) == ("Rebased", True, 3)
    assert world.subjects(world.bare, "main") == ["Add m", "Theirs t2", "Theirs t1", "begin"]


async def test_a_push_that_is_always_overtaken_is_given_up_for_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.repository.git.run
    pushes = 0

    async def overtaken(*argv: str, **more: object) -> object:
        nonlocal pushes
        if argv[0] == "push":
            pushes += 1
            world.theirs(f"t{pushes}")
        return await run(*argv, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("state.remote.PAUSE", 0.001)
    monkeypatch.setattr(world.repository.git, "run", overtaken)
    await world.write("m", "services")
    outcome = await world.remote.sync()
    assert (outcome.reason, outcome.good, pushes) == ("PushRaced", False, 6)
    monkeypatch.undo()
    assert (await world.remote.sync()).good


async def test_a_remote_that_takes_no_commits_says_why(world: World) -> None:
    hook = world.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho only reviewed changes >&2\nexit 1\n")
    hook.chmod(0o755)
    revision = await world.write("m")
    outcome = await world.remote.sync()
    assert outcome.reason == "PushRefused"
    assert "origin/main takes no commits from here: [remote rejected] (pre-receive hook declined)" in outcome.message
    assert (plain.head(world.ours), outcome.revision) == (revision, revision)


async def test_a_rewritten_remote_is_followed_with_our_commits_on_top_and_what_it_dropped_is_kept_but_not_pushed(
    world: World,
) -> None:
    world.theirs("dropped")
    await world.write("pushed", "services")
    await world.remote.sync()
    old = plain.head(world.ours)
    plain.git(world.other, "reset", "--quiet", "--hard", "HEAD~1")
    own = await world.write("own", "sparks")
    world.theirs("instead", force=True)
    outcome = await world.remote.sync()
    assert (outcome.reason, world.tip()) == ("Rebased", plain.head(world.ours))
    assert world.subjects() == ["Add own", "Theirs instead", "begin"]
    assert "dropped" not in world.fleet() and "pushed" not in world.fleet()
    (kept,) = plain.git(world.ours, "for-each-ref", "--format=%(refname)", "refs/sparkkeep/kept").split()
    assert plain.git(world.ours, "rev-parse", kept, f"{kept}~1").split() == [own, old]
    assert f"whose history was rewritten; this branch as it was is kept as {kept}" in outcome.message
    assert (await world.remote.sync()).reason == "InSync"


async def test_a_remote_rewritten_while_a_hand_edit_was_in_the_way_is_followed_later(world: World) -> None:
    world.theirs("dropped")
    await world.remote.sync()
    (world.ours / "desired.yaml").write_text(world.fleet() + "# by hand\n")
    for key in ("first", "second"):
        plain.git(world.other, "reset", "--quiet", "--hard", "HEAD~1")
        world.theirs(key, force=True)
        assert (await world.remote.sync()).reason == "DirtyBehind"
    plain.git(world.ours, "checkout", "--quiet", "desired.yaml")
    await world.write("own", "services")
    assert (await world.remote.sync()).reason == "Rebased"
    assert world.subjects() == ["Add own", "Theirs second", "begin"]


async def test_a_conflict_with_a_rewritten_remote_is_settled_as_told_without_bringing_back_what_it_dropped(
    world: World,
) -> None:
    dropped = world.theirs("dropped", "services")
    await world.remote.sync()
    plain.git(world.other, "reset", "--quiet", "--hard", "HEAD~1")
    await world.write("own")
    world.theirs("instead", force=True)
    outcome = await world.remote.sync()
    assert f"`git rebase --onto origin/main {dropped[:10]}`" in outcome.message
    plain.git(world.ours, "rebase", "--onto", "origin/main", dropped[:10], code=1)
    plain.git(world.ours, "checkout", "--theirs", "desired.yaml")
    text = world.fleet().replace("  dropped: {}\n", "")
    (world.ours / "desired.yaml").write_text(text)
    plain.git(world.ours, "add", "desired.yaml")
    plain.git(world.ours, "-c", "core.editor=true", "rebase", "--continue")
    settled = plain.head(world.ours)
    assert (await world.remote.sync()).reason == "Pushed"
    assert world.tip() == settled, "the person's own rebase is taken as it is"


async def test_a_merge_by_hand_stays_one_until_it_has_to_be_made_a_line_and_then_it_is_kept(world: World) -> None:
    plain.git(world.ours, "switch", "--quiet", "--create", "side")
    await world.write("side", "services")
    plain.git(world.ours, "switch", "--quiet", "main")
    (world.ours / "README").write_text("main\n")
    plain.commit_all(world.ours, "README")
    plain.git(world.ours, "merge", "--quiet", "--no-edit", "side")
    assert (await world.remote.sync()).reason == "Pushed"
    assert world.tip() == plain.head(world.ours)
    plain.git(world.other, "pull", "--quiet")
    plain.git(world.ours, "switch", "--quiet", "--create", "more")
    await world.write("more", "sparks")
    plain.git(world.ours, "switch", "--quiet", "main")
    plain.git(world.ours, "merge", "--quiet", "--no-ff", "--no-edit", "more")
    merged = plain.head(world.ours)
    world.theirs("t")
    assert (await world.remote.sync()).reason == "Rebased"
    assert world.subjects()[:2] == ["Merge branch 'more'", "Theirs t"]
    assert "  t: {}\n" in world.fleet() and "  more: {}\n" in world.fleet()
    assert plain.git(world.ours, "for-each-ref", "--format=%(objectname)", "refs/sparkkeep/kept").split() == [merged]


@pytest.mark.parametrize("synced", [False, True])
async def test_a_branch_that_was_deleted_is_not_made_anew(world: World, synced: bool) -> None:
    if synced:
        await world.remote.sync()
    await world.write("m")
    plain.git(world.bare, "update-ref", "-d", "refs/heads/main")
    outcome = await world.remote.sync()
    assert (outcome.reason, "was deleted on the remote" in outcome.message) == ("BranchGone", True)
    assert plain.git(world.bare, "for-each-ref") == ""
    plain.git(world.ours, "push", "--quiet", "origin", "main")
    assert (await world.remote.sync()).reason == "InSync"


async def test_another_branch_that_a_person_checked_out_is_left_alone(world: World) -> None:
    plain.git(world.ours, "switch", "--quiet", "--create", "experiment")
    before = plain.head(world.ours)
    world.theirs("t")
    outcome = await world.remote.sync()
    assert (outcome.reason, plain.head(world.ours)) == ("Busy", before)
    assert "`git switch main`" in outcome.message


async def test_a_new_state_and_an_empty_remote(tmp_path: Path) -> None:
    bare, folder = plain.bare(tmp_path / "new.git"), tmp_path / "fleet"
    folder.mkdir()
    (folder / "desired.yaml").write_bytes(FLEET)
    remote = await Remote.open(await Repository.open(folder), url=str(bare))
    assert (await remote.sync()).reason == "Pushed"
    assert plain.git(bare, "show", "main:desired.yaml").encode() == FLEET


async def test_an_empty_folder_and_a_remote_with_a_state(world: World, tmp_path: Path) -> None:
    repository = await Repository.open(tmp_path / "fresh")
    outcome = await (await Remote.open(repository, url=str(world.bare))).sync()
    assert (outcome.reason, outcome.moved) == ("FastForwarded", True)
    assert (tmp_path / "fresh" / "desired.yaml").read_bytes() == FLEET
    assert plain.git(tmp_path / "fresh", "status", "--porcelain") == ""


async def test_two_states_that_have_nothing_to_do_with_each_other_are_a_conflict(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "desired.yaml").write_bytes(b"# quite another\nmodels: {}\n")
    remote = await Remote.open(await Repository.open(folder), url=str(world.bare))
    assert (await remote.sync()).reason == "Conflict"
    assert (folder / "desired.yaml").read_bytes() == b"# quite another\nmodels: {}\n"


async def test_a_write_is_not_held_up_by_a_slow_remote(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.repository.git.run
    fetching, answer = asyncio.Event(), asyncio.Event()

    async def slow(*argv: str, **more: object) -> object:
        if argv[0] == "fetch":
            fetching.set()
            await answer.wait()
        return await run(*argv, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(world.repository.git, "run", slow)
    syncing = asyncio.create_task(world.remote.sync())
    await fetching.wait()
    revision = await world.write("m")
    answer.set()
    assert (await syncing).reason == "Pushed"
    assert world.tip() == revision


async def test_syncs_at_once_of_two_clones_end_in_one_history(world: World, tmp_path: Path) -> None:
    second = await Repository.open(plain.clone(world.bare, tmp_path / "second"))
    remotes = [world.remote, await Remote.open(second)]
    await world.write("m", "models")
    await second.write({"desired.yaml": add("services", "n: {}")}, message="Add n", actor=ALICE)
    outcomes: list[Outcome] = await asyncio.gather(*(remote.sync() for remote in remotes))
    assert all(outcome.good for outcome in outcomes)
    assert sorted(world.subjects(world.bare, "main")) == ["Add m", "Add n", "begin"]


def _refused(world: World) -> list[Callable[[], Awaitable[object]]]:
    urls = ["-oProxyCommand=x", "ext::sh -c id", "https://u:p@h/x", "https://token@h/x", "file", "ssh://h/a b", ""]
    return [lambda url=url: Remote.open(world.repository, name="new", url=url) for url in urls]  # type: ignore[misc]


async def test_urls_and_names_that_cannot_be_are_refused_without_telling_secrets(world: World) -> None:
    for attempt in _refused(world):
        with pytest.raises(GitFailed, match=r"is no URL|would lie in plain text") as refused:
            await attempt()
        assert "u:p" not in str(refused.value) and "token" not in str(refused.value)
    with pytest.raises(GitFailed, match="can't name a remote"):
        await Remote.open(world.repository, name="--upload-pack=x")
    with pytest.raises(GitFailed, match="can't name a revision"):
        await Remote.open(world.repository, branch="a..b")
    with pytest.raises(GitFailed, match="has no remote elsewhere; add one with `git remote add elsewhere URL`"):
        await Remote.open(world.repository, name="elsewhere")
    with pytest.raises(GitFailed, match="git remote set-url origin URL"):
        await Remote.open(world.repository, url="/other")
    assert plain.git(world.ours, "remote").split() == ["origin"]


async def test_line_ends_that_an_operator_configured_are_theirs(world: World) -> None:
    plain.git(world.ours, "config", "core.autocrlf", "true")
    world.theirs("t")
    assert (await world.remote.sync()).reason == "FastForwarded"
    assert b"  t: {}\r\n" in (world.ours / "desired.yaml").read_bytes()
    assert world.status() == ""
