"""Quoting, and the law that half a command does nothing."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.shell import (
    REMOTE_SHELL,
    Arg,
    Home,
    appended,
    asked,
    guarded,
    home_path,
    join,
    piped,
    quote,
    split,
    with_env_file,
    with_login,
)

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
nasty = st.sampled_from(
    ["", "-", "--", "-rf", "$(touch x)", "`touch x`", "${HOME}", "$HOME", "~", "*", "a b", "a\nb", "\n", "'", '"', "'\"'\"'", "\\", "!!",
     ";", "&", "|", ">x", "}", "{", "#", "é", "日本", "\x1b[0m", "\t", "\r", "a=b", "%s", "\x7f", "0"]
)  # fmt: skip
argvs = st.lists(words | nasty, min_size=1, max_size=8)


def run(shell: str, script: str | bytes, **more: str) -> subprocess.CompletedProcess[bytes]:
    """What the Spark does: the script is the shell's standard input."""
    data = script if isinstance(script, bytes) else script.encode()
    env = {"PATH": "/usr/bin:/bin", "HOME": "/home/of the user", "LC_ALL": "C.UTF-8"} | more
    return subprocess.run([shell], check=False, input=data, capture_output=True, env=env, timeout=20)


def show(argv: list[Arg]) -> str:
    """A command that prints its arguments, each with NUL at its end."""
    return join(["printf", "%s\\0", *argv])


def printed(data: bytes) -> list[str]:
    return data.decode().split("\0")[:-1]


@given(argvs)
@example(["x", "\n", "a\nb"])
@example(["-n", "--", "$(id)"])
def test_splitting_gives_the_argv_back(argv: list[str]) -> None:
    assert list(split(join(argv))) == argv


@settings(max_examples=60, deadline=None)
@given(argvs)
def test_a_real_shell_gives_the_argv_back(argv: list[str]) -> None:
    script = show(list(argv))
    for shell in SHELLS:
        done = run(shell, guarded(script))
        assert (done.returncode, done.stderr) == (0, b"")
        assert printed(done.stdout) == argv


@settings(max_examples=40, deadline=None)
@given(words, words)
def test_home_is_expanded_by_the_spark_and_nothing_else(before: str, after: str) -> None:
    done = run("sh", guarded(show([Home(after, before)])))
    assert printed(done.stdout) == [f"{before}/home/of the user{after}"]


@given(words, words)
def test_home_splits_into_text_with_a_literal_home(before: str, after: str) -> None:
    assert split(join(["x", Home(after, before)])) == ("x", f"{before}$HOME{after}")


@pytest.mark.parametrize(
    ("arg", "text"),
    [
        ("plain-1.2/x:y", "plain-1.2/x:y"),
        ("", "''"),
        ("$HOME/data", "'$HOME/data'"),
        ("it's", "'it'\"'\"'s'"),
    ],
)
def test_the_text_of_one_argument(arg: Arg, text: str) -> None:
    assert quote(arg) == text


def test_the_home_of_a_path_is_the_spark_s_and_what_stands_around_it_stays() -> None:
    assert quote(home_path("$HOME/data")) == '"$HOME"/data'
    assert quote(home_path("$HOME/a b", after=":/x")) == "\"$HOME\"'/a b:/x'"
    assert quote(home_path("$HOME")) == '"$HOME"'
    assert quote(home_path("$HOMEWORK")) == "'$HOMEWORK'"
    assert quote(home_path("/data", before="src=", after=",ro")) == "src=/data,ro"
    assert quote(home_path("$HOME/x", before="source=")) == 'source="$HOME"/x'


@pytest.mark.parametrize("arg", ["a\0b", Home("\0"), Home("", "\0"), "\ud800", Home("\udfff")])
def test_what_can_not_travel_is_refused(arg: Arg) -> None:
    with pytest.raises(ValueError, match="argument"):
        join(["x", arg])


def test_no_command_is_refused() -> None:
    with pytest.raises(ValueError, match="program"):
        join([])


def test_why_an_argument_is_refused_is_said() -> None:
    with pytest.raises(ValueError, match=r"^an argument can't hold NUL$"):
        quote("a\0")
    with pytest.raises(ValueError, match=r"^an argument must be valid Unicode$"):
        quote("\ud800")
    with pytest.raises(ValueError, match=r"^a command needs at least a program$"):
        join(())


def test_splitting_keeps_what_looks_like_a_comment() -> None:
    assert split("a '#b' 'c d'") == ("a", "#b", "c d")


# Whole scripts, word by word


def test_a_script_stands_in_a_brace_group() -> None:
    assert guarded("a\nb") == "{\na\nb\nexit\n}\n"
    assert asked("a\nb") == "{\na\nb\n} </dev/null\n"


def test_any_bytes_go_in_and_come_out(tmp_path: Path) -> None:
    data = bytes(range(256))
    assert piped(("cat", "a b"), b"") == "cat 'a b' | base64"
    assert piped(("cat",), b"x") == "printf %s eA== | base64 -d | cat | base64"
    done = run("sh", guarded(piped(("cat",), data)))
    assert base64.b64decode(done.stdout) == data
    file = tmp_path / "a b"
    for _ in range(2):
        assert run("sh", guarded(appended(data, str(file)))).returncode == 0
    assert file.read_bytes() == data * 2
    assert appended(b"x", home_path("$HOME/y")) == 'printf %s eA== | base64 -d >> "$HOME"/y'


def test_the_whole_script_around_an_env_file() -> None:
    values = {"B": "it's", "A": "1 2"}
    assert with_env_file("$HOME/e f", "x", values, ("docker", "run", "a b")).split("\n") == [
        "umask 077 && mkdir -p \"$HOME\"'/e f' && printf '%s\\n' 'A=1 2' 'B=it'\"'\"'s' > \"$HOME\"'/e f/x' || exit 1",
        "docker run 'a b'",
        "status=$?",
        "rm -f \"$HOME\"'/e f/x'",
        "exit $status",
    ]


def test_the_whole_script_around_a_login() -> None:
    assert with_login("lan:5000", "$me", "it's", ("docker", "pull", "a b")).split("\n") == [
        "umask 077",
        "keep=$(mktemp -d /dev/shm/sparkkeep-XXXXXXXX 2>/dev/null || mktemp -d) || exit 1",
        """trap 'rm -rf "$keep"' EXIT""",
        "trap 'exit 143' HUP INT TERM",
        """printf %s '{"auths": {"lan:5000": {}}}' > "$keep/config.json" || exit 1""",
        """if printf %s 'it'"'"'s' | DOCKER_CONFIG="$keep" docker login --username '$me' --password-stdin lan:5000 >/dev/null; then""",
        """DOCKER_CONFIG="$keep" docker pull 'a b'""",
        "else docker pull 'a b'",
        "fi",
        "status=$?",
        'rm -rf "$keep"',
        "exit $status",
    ]


# Half a command does nothing


def proper_prefixes(script: str) -> list[bytes]:
    """Every cut that a breaking connection could make. The closing brace's newline is not needed, so it is not one."""
    data = guarded(script).encode()
    return [data[:length] for length in range(len(data) - 1)]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "argv",
    [
        ["touch", "A"],
        ["touch", "A", "B C", "it's", "a\nb"],
        ["touch", "A\ntouch B\n}\ntouch C"],
        ["touch", "}"],
        ["touch", "A", ";", "touch", "B"],
        ["touch", "$(touch A)", "`touch B`", "$HOME"],
        ["touch", Home("/A"), "é"],
        ["touch", "A", "#", "{", "\\"],
        ["touch", "A", "&&", "touch", "B", "&", "\n"],
    ],
    ids=str,
)
def test_no_proper_prefix_of_a_command_runs(shell: str, argv: list[Arg], tmp_path: Path) -> None:
    """One shell per cut, each in the same empty folder, which must stay empty."""
    room = tmp_path / "room"
    room.mkdir()
    for prefix in proper_prefixes(join(argv)):
        subprocess.run(
            [shell],
            check=False,
            input=prefix,
            capture_output=True,
            cwd=room,
            env={"PATH": "/usr/bin:/bin", "HOME": str(room)},
            timeout=20,
        )
        assert not list(room.iterdir()), prefix
    done = subprocess.run(
        [shell],
        check=False,
        input=guarded(join(argv)).encode(),
        cwd=room,
        env={"PATH": "/usr/bin:/bin", "HOME": str(room)},
        timeout=20,
    )
    assert done.returncode == 0
    assert list(room.iterdir())


@settings(max_examples=10, deadline=None)
@given(st.lists(words | nasty, max_size=3))
def test_no_proper_prefix_of_any_command_prints(argv: list[str]) -> None:
    script = show(["mark", *argv])
    for shell in SHELLS:
        for prefix in proper_prefixes(script)[:: 3 if shell == "bash" else 1]:
            assert not run(shell, prefix).stdout, prefix


@pytest.mark.parametrize("shell", SHELLS)
def test_no_proper_prefix_of_a_script_of_several_lines_runs(shell: str, tmp_path: Path) -> None:
    script = with_env_file(str(tmp_path / "env"), "x", {"TOKEN": "a b'c"}, ("touch", str(tmp_path / "ran")))
    for prefix in proper_prefixes(script):
        run(shell, prefix)
        assert not list(tmp_path.iterdir()), prefix


def test_the_guard_passes_the_exit_status_on() -> None:
    for shell in SHELLS:
        assert run(shell, guarded("exit 7")).returncode == 7
        assert run(shell, guarded("false")).returncode == 1
        assert run(shell, guarded("true")).returncode == 0


@pytest.mark.parametrize(
    "login", [shell for shell in ("sh", "bash", "zsh", "fish", "csh", "tcsh") if shutil.which(shell)]
)
def test_the_login_shell_only_sees_a_bare_word(login: str) -> None:
    done = subprocess.run(
        [login, "-c", REMOTE_SHELL],
        check=False,
        input=guarded("echo $0 'a b'").encode(),
        capture_output=True,
        timeout=20,
    )
    assert done.stdout == b"sh a b\n"


# Secrets


def test_the_env_file_exists_only_while_the_command_runs(tmp_path: Path) -> None:
    folder = tmp_path / "env files"
    look = ("sh", "-c", 'stat -c %a "$1"; cat "$1"; exit 5', "look", str(folder / "x"))
    values = {"B": "it's $(id) `id` \\n %s", "A": 'two words "quoted"'}
    done = run("sh", guarded(with_env_file(str(folder), "x", values, look)))
    assert done.returncode == 5
    assert done.stdout.decode() == f"600\nA={values['A']}\nB={values['B']}\n"
    assert not list(folder.iterdir())


def test_nothing_runs_if_the_env_file_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("sh", guarded(with_env_file(str(tmp_path / "file"), "x", {"A": "1"}, ("touch", str(tmp_path / "ran")))))
    assert done.returncode == 1
    assert not (tmp_path / "ran").exists()


def test_a_secret_stands_in_no_argv(tmp_path: Path) -> None:
    """`printf` and the redirection belong to the shell; only the command is a process of its own."""
    spy = ("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    done = run("sh", guarded(with_env_file(str(tmp_path), "x", {"TOKEN": "hf-secret-value"}, spy)))
    assert b"hf-secret-value" not in done.stdout
    assert json.dumps("sh")[1:-1].encode() in done.stdout
