"""The pretend shell must do what dash does; here the two are asked the same things."""

import shutil
import subprocess
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import shell
from reconciler.practice import shell_parser
from reconciler.practice.files import Files
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.shell_run import Shell
from reconciler.practice.shell_words import PROGRAMS

DASH = shutil.which("dash")
SCRIPTS = (
    "echo hi; echo 'a  b'",
    "{\necho a\n",
    "{\necho a\n}\n",
    "echo a\n(",
    "echo a; (",
    "x=1; echo $x ${y:-z} \"$x y\" '$x'",
    'f() { echo "[$1]" "$#"; shift; for w in "$@"; do echo "<$w>"; done; }; f a "b c" d',
    "false || echo no && echo yes",
    "if [ -n '' ]; then echo a; elif [ a = a ]; then echo b; else echo c; fi",
    "for i in a b 'c d'; do echo \"$i\"; done",
    "ids=$(echo 1 2; echo 3) || exit 1\nif [ -n \"$ids\" ]; then echo x $ids; fi\necho '[]'",
    "ids=$(false) || exit 4; echo never",
    "cat <<'E'\nhi $x\nE\necho z",
    "x=7; cat <<E\nhi $x $(echo there)\nE\n",
    "nosuchprogram a",
    "exit 7",
    'echo "\\$x" \\$y \\\\',
    'echo "unterminated',
    "echo a;; b",
    "! true",
    "echo a#b #c",
    "(exit 4); echo $?",
    "}",
    'set -- ; echo "$@" x',
    "printf '%s\\n' one 'two words' \"th'ree\"",
    "echo one | cat",
    "echo out; echo err >&2",
    "sh -c 'echo $1 $0' name arg",
    "echo hidden > /dev/null; echo shown",
    "while true; do echo once; exit 3; done",
    "x='a  b'; echo $x; echo \"$x\"",
    "f() { return 5; }; f; echo $?",
    "umask 077; umask",
    "A=b sh -c 'echo $A'; echo \"[$A]\"",
    "echo \\\nfoo",
    "status=$?\nexit $status",
    "exec echo gone; echo never",
    "command -v nosuchprogram || echo absent",
    "test a != b && [ 3 -gt 2 ] && echo yes",
    'printf \'one  two three \\nfour\' | { read -r a b; echo "$a|$b"; read -r c; echo "$? $c"; read -r d; echo "$? $d"; }',
    "printf '12.75 9.1\\n' | { IFS='. ' read -r a b c; echo \"$a|$b|$c\"; }; echo 'x y' | { read -r a b; echo \"$b\"; }",
    'x=7; y=; echo $((x + 1)) "$(($x - 10))" $((y+2-x)) $(( 010 ))',
    "[ x -gt 2 ]; echo $?; [ -k /tmp ] && echo sticky; [ -k / ] || echo not",
    "exec 9</nowhere; echo never",
    "exec 8</dev/null 8<&-; read -r x 2>/dev/null </proc/self/fd/8; echo $?",
)


async def pretend(text: str) -> tuple[int, str, str]:
    out, error = Buffer(), Buffer()
    status = await Shell(PROGRAMS, Files(), {"HOME": "/home/practice"}).script(text, Io(Input(), out, error))
    return status, out.text, error.text


@pytest.mark.skipif(DASH is None, reason="dash is not installed")
@pytest.mark.parametrize("text", SCRIPTS)
async def test_like_dash(text: str) -> None:
    real = subprocess.run(
        ["sh"], executable=DASH, input=text, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=False
    )
    assert await pretend(text) == (real.returncode, real.stdout, real.stderr)


LINES = (
    *(
        "echo a",
        "  read -r x",
        "echo $x;",
        "# a note",
        "! true",
        "{ echo c; }",
        "x=$(echo",
        "y)",
        "'",
        "echo \\",
        "echo \\\\",
    ),
    *(
        "if true; then",
        "else",
        "fi",
        "for i in 1 2; do",
        "done; echo z",
        "while false",
        "do",
        "done",
        "f() {",
        "}",
        "g()",
    ),
    *(
        "( echo b",
        ")",
        "b |",
        "c &&",
        "d || (",
        "cat <<E",
        "cat <<'E'; echo e",
        "E",
        "",
        'echo "$x',
        '"',
        "a;; b",
        "echo $((",
    ),
)


@given(st.lists(st.sampled_from(LINES), max_size=12), st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_line_that_is_read_once_means_the_same_wherever_it_stands(lines: list[str], whole: bool) -> None:
    text = "\n".join(lines)
    with patch.object(shell_parser, "_alone", lambda _line, _number: ()):
        in_place = shell_parser.read.__wrapped__(text, whole=whole)
    assert shell_parser.read.__wrapped__(text, whole=whole) == in_place


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(words, min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
async def test_quoting_survives(argv: list[str]) -> None:
    """What `reconciler.shell` quotes arrives as it was."""
    seen: list[list[str]] = []

    async def show(_shell: Shell, given: list[str], _io: Io) -> int:
        seen.append(given)
        return 0

    out = Buffer()
    text = shell.guarded(shell.join(("show", *argv)))
    assert await Shell({"show": show}, Files(), {}).script(text, Io(Input(), out, out)) == 0
    assert seen == [["show", *argv]]


@given(st.data())
@settings(max_examples=60, deadline=None)
async def test_nothing_of_a_cut_off_script_runs(data: st.DataObject) -> None:
    text = shell.guarded(shell.with_env_file("$HOME/env", "x", {"A": "it's\n}"}, ("docker", "run", "a b", "}")))
    cut = text[: data.draw(st.integers(0, len(text) - 3))]
    status, out, error = await pretend(cut)
    assert out == ""
    assert "not found" not in error, "a command was tried"
    assert status in {0, 2}


async def test_files() -> None:
    files = Files()
    shell_ = Shell(PROGRAMS, files, {"HOME": files.home}, umask=0o077)
    out, error = Buffer(), Buffer()
    assert (
        await shell_.script("echo a > x; echo b >> x; cat < x; cat no; echo c > /etc/y", Io(Input(), out, error)) == 2
    )
    assert out.text == "a\nb\n"
    assert files.modes["/home/practice/x"] == 0o600
    assert "cat: no: No such file or directory" in error.text
    assert "cannot create /etc/y: Permission denied" in error.text


async def in_pieces(pieces: list[str]) -> tuple[int, str]:
    waiting = [piece.encode() for piece in pieces]

    async def source() -> bytes:
        return waiting.pop(0) if waiting else b""

    out = Buffer()
    status = await Shell(PROGRAMS, Files(), {}).follow(Io(Input(source=source), out, out))
    return status, out.text


@pytest.mark.parametrize("text", ["echo a\n{\necho b\necho ü\n} </dev/null\ncat <<E\none\ntwo\nE\nexit 3\n"])
async def test_a_script_that_comes_in_pieces_runs_the_same(text: str) -> None:
    whole = await in_pieces([text])
    assert whole == (3, "a\nb\nü\none\ntwo\n")
    for at in range(1, len(text)):
        assert await in_pieces([text[:at], text[at:]]) == whole
    assert await in_pieces(list(text)) == whole


async def test_a_block_runs_as_soon_as_its_last_line_is_there() -> None:
    """A shell that waited for the end of its input would never answer a question asked of a standing shell."""
    out = Buffer()
    seen: list[str] = []
    pieces = [b"{\necho one\n", b"} </dev/null\n", b"{\necho two\n} </dev/null\n"]

    async def source() -> bytes:
        seen.append(out.text)
        return pieces.pop(0) if pieces else b""

    await Shell(PROGRAMS, Files(), {}).follow(Io(Input(source=source), out, out))
    assert seen == ["", "", "one\n", "one\ntwo\n"]
