"""Running git: errors in plain words, secrets masked, bounds kept, nothing prompted for, no option smuggled in."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import stat
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.git import Git, GitFailed, GitMissing, masked, named
from state.repository_webhook import verify_webhook
from tests.gitops import plain


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in plain.ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    plain.git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "a.yaml").write_text("a: 1\n")
    plain.commit_all(tmp_path, "one")
    return tmp_path


def fake_git(folder: Path, program: str) -> dict[str, str]:
    """An environment in which `git` is this Python program."""
    path = folder / "bin" / "git"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{program}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": str(path.parent)}


async def test_what_git_prints_comes_back(repo: Path) -> None:
    assert await Git(repo).text("rev-parse", "HEAD") == plain.head(repo)


async def test_a_failure_is_one_sentence_in_gits_words_without_the_hints(repo: Path) -> None:
    with pytest.raises(GitFailed, match=r"^git rev-parse failed: Needed a single revision$"):
        await Git(repo).run("rev-parse", "--verify", "nowhere")


async def test_an_exit_status_that_is_expected_is_no_failure(repo: Path) -> None:
    assert (await Git(repo).run("rev-parse", "--verify", "nowhere", codes=(0, 128))).code == 128


def test_without_git_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(GitMissing, match="there is no git on this machine"):
        Git(tmp_path, environ={"PATH": str(tmp_path)})


async def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="git can't be run in"):
        await Git(tmp_path / "gone").run("status")


async def test_credentials_of_a_url_are_not_told(repo: Path) -> None:
    url = "https://alice:hunter2@127.0.0.1:9/x.git"
    with pytest.raises(GitFailed) as failed:
        await Git(repo).run("fetch", url)
    assert "hunter2" not in str(failed.value) + failed.value.said
    assert "127.0.0.1:9" in str(failed.value)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("at 'https://u:p@h/x'", "at 'https://***@h/x'"),
        ("https://ghp_token@github.com/a/b", "https://***@github.com/a/b"),
        ("ssh://git@h/x https://t@i/y", "ssh://***@h/x https://***@i/y"),
        ("https://u:p@ss@h/x", "https://***@h/x"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_masking(text: str, left: str) -> None:
    assert masked(text) == left


async def test_output_is_bounded(repo: Path) -> None:
    (repo / "big.yaml").write_bytes(b"x" * 300_000)
    plain.commit_all(repo, "big")
    with pytest.raises(GitFailed, match="more than 1000 bytes"):
        await Git(repo).run("cat-file", "blob", "HEAD:big.yaml", most=1000)
    answer = await Git(repo).run("cat-file", "blob", "HEAD:big.yaml", most=1000, cut=True)
    assert (len(answer.out), answer.cut) == (1000, True)
    answer = await Git(repo).run("cat-file", "blob", "HEAD:big.yaml", most=300_000)
    assert (len(answer.out), answer.cut) == (300_000, False)


@pytest.mark.parametrize("most", [10, 200_000, 1_000_000])
async def test_cut_output_leaves_no_pipe_open(repo: Path, most: int) -> None:
    (repo / "big.yaml").write_bytes(b"x" * 6_000_000)
    plain.commit_all(repo, "big")
    before = _open_files()
    for _ in range(5):
        answer = await Git(repo).run("cat-file", "blob", "HEAD:big.yaml", most=most, cut=True)
        assert (len(answer.out), answer.cut) == (most, True)
    await asyncio.sleep(0)  # a pipe is closed a step after its end was heard
    assert _open_files() <= before


async def test_time_that_is_up_at_any_moment_leaves_no_pipe_open(repo: Path) -> None:
    (repo / "big.yaml").write_bytes(b"x" * 6_000_000)
    plain.commit_all(repo, "big")
    problems = list[dict[str, object]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    before = _open_files()
    for limit in range(10):
        with contextlib.suppress(GitFailed):
            await Git(repo).run("hash-object", "--stdin", stdin=b"x" * 6_000_000, limit=0.002 * limit)
            await Git(repo).run("cat-file", "blob", "HEAD:big.yaml", limit=0.002 * limit)
    await asyncio.sleep(0)
    assert _open_files() <= before
    assert problems == []


@pytest.mark.parametrize("steps", range(8))
async def test_whoever_gives_up_just_as_it_ends_leaves_nobody_reading(tmp_path: Path, steps: int) -> None:
    """A caller was told "read() called while another coroutine is already waiting": its helper still held the other pipe."""
    program = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1)'], stdout=subprocess.DEVNULL)\n"
        "open('ends', 'w').close()"
    )
    task = asyncio.create_task(Git(tmp_path, environ=fake_git(tmp_path, program)).run("fetch"))
    while not (tmp_path / "ends").exists():
        await asyncio.sleep(0.02)
    time.sleep(0.3)  # so that its end and that of its output are heard at once
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(600)"
    )
    git = Git(tmp_path, environ=fake_git(tmp_path, program))
    with pytest.raises(GitFailed, match=r"git fetch was ended: it took more than 1.5 s"):
        await git.run("fetch", limit=1.5)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    await _ended(pids)


async def test_a_caller_who_gives_up_ends_the_command(tmp_path: Path) -> None:
    program = "import os, time; open('pids', 'w').write(str(os.getpid())); time.sleep(600)"
    task = asyncio.create_task(Git(tmp_path, environ=fake_git(tmp_path, program)).run("fetch"))
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _ended([int((tmp_path / "pids").read_text())])


async def _ended(pids: list[int]) -> None:
    until = time.monotonic() + 20
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < until, f"{pids} live on"
        await asyncio.sleep(0.05)


def _alive(pid: int) -> bool:
    """A process that nobody waits for (its parent was ended) counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_the_environment_is_clean_and_what_reaches_a_remote_stays(tmp_path: Path) -> None:
    environ = fake_git(tmp_path, "import json, os; print(json.dumps(dict(os.environ)))")
    given = {
        "GIT_DIR": "/elsewhere", "GIT_INDEX_FILE": "/elsewhere", "GIT_WORK_TREE": "/", "GIT_TRACE": "1", "LC_MESSAGES": "de",
        "LANGUAGE": "de", "SSH_ASKPASS": "/bin/x", "GIT_SSH_COMMAND": "ssh -i key", "SSH_AUTH_SOCK": "/agent", "HOME": "/home/x",
        "GIT_ASKPASS": "/bin/helper", "https_proxy": "http://proxy",
    }  # fmt: skip
    import json

    seen = json.loads((await Git(tmp_path, environ={**environ, **given}).run("x")).out)
    assert not {
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_WORK_TREE",
        "GIT_TRACE",
        "LC_MESSAGES",
        "LANGUAGE",
        "SSH_ASKPASS",
    } & set(seen)
    assert {seen[name] for name in ("GIT_SSH_COMMAND", "SSH_AUTH_SOCK", "HOME", "GIT_ASKPASS", "https_proxy")} == {
        "ssh -i key", "/agent", "/home/x", "/bin/helper", "http://proxy",
    }  # fmt: skip
    assert (seen["GIT_TERMINAL_PROMPT"], seen["LC_ALL"]) == ("0", "C")


async def test_hooks_of_the_operator_do_not_run(repo: Path) -> None:
    hook = repo / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hook-ran\nexit 1\n")
    hook.chmod(0o755)
    await Git(repo).run("update-ref", "refs/heads/other", "HEAD")
    assert not (repo / "hook-ran").exists()


@pytest.mark.parametrize("revision", ["HEAD", "HEAD~3", "a1b2c3d", "main", "v1.2", "feature/x", "origin/main~1"])
def test_revisions_that_may_be_named(revision: str) -> None:
    assert named(revision) == revision


@pytest.mark.parametrize(
    "revision",
    [
        "",
        "--output=/etc/passwd",
        "-1",
        "HEAD..main",
        "a b",
        "HEAD^",
        "@{-1}",
        ":/text",
        "HEAD:a.yaml",
        "a//b",
        "x\n",
        "a" * 200,
        "é",
        "$(id)",
    ],
)
async def test_revisions_that_may_not(repo: Path, revision: str) -> None:
    with pytest.raises(GitFailed, match="can't name a revision; give a commit"):
        await Git(repo).meant(revision)


@given(st.text(max_size=12))
def test_nothing_that_may_be_named_is_an_option_or_a_range(revision: str) -> None:
    try:
        named(revision)
    except GitFailed:
        return
    assert not revision.startswith("-")
    assert ".." not in revision
    assert revision.isascii()
    assert not set(revision) & set(":^@{}$ \n\0*?[\\")


async def test_a_revision_that_is_not_there_is_said(repo: Path) -> None:
    with pytest.raises(GitFailed, match="there is no commit deadbeef"):
        await Git(repo).meant("deadbeef")
    assert await Git(repo).meant("HEAD") == await Git(repo).meant(plain.head(repo)[:8]) == plain.head(repo)


@settings(max_examples=20)
@given(st.lists(st.binary(max_size=40), max_size=5))
async def test_contents_come_back_as_they_were_put(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "contents"
    if not folder.exists():
        folder.mkdir()
        plain.git(folder, "init", "--quiet")
    git = Git(folder)
    names = [await git.put(data) for data in contents]
    assert [await git.blob(name) for name in names] == contents
    git.forget()
    assert [await git.blob(name) for name in names] == contents
    asked = [part for name in names for part in (name, "0" * 40)]
    assert await git.blobs(asked) == [part for data in contents for part in (data, None)]


BODY = b'{"ref": "refs/heads/main"}'
SIGNATURE = hmac.new(b"secret", BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Hub-Signature-256": f"sha256={SIGNATURE}"},
        {"x-gitea-signature": SIGNATURE},
        {"X-Forgejo-Signature": SIGNATURE},
        {"X-Gogs-Signature": SIGNATURE.upper()},
        {"X-Gitlab-Token": "secret"},
        {"X-Gitea-Signature": "0" * 64, "X-Hub-Signature-256": f"sha256={SIGNATURE}"},
    ],
)
def test_a_webhook_from_who_knows_the_secret(headers: dict[str, str]) -> None:
    assert verify_webhook(b"secret", BODY, headers)
    assert not verify_webhook(b"other", BODY, headers)
    assert not verify_webhook(b"", BODY, headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Gitlab-Token": ""},
        {"X-Gitlab-Token": "é"},
        {"X-Hub-Signature": "sha1=00"},
        {"X-Gitea-Signature": "é"},
    ],
)
def test_a_webhook_from_anyone_else(headers: dict[str, str]) -> None:
    assert not verify_webhook(b"secret", BODY, headers)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_a_changed_body_is_not_signed(place: int, flip: int) -> None:
    body = bytes([*BODY[:place], BODY[place] ^ flip, *BODY[place + 1 :]])
    assert not verify_webhook(b"secret", body, {"X-Hub-Signature-256": f"sha256={SIGNATURE}"})
