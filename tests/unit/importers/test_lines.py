"""Command lines as a shell splits them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.importers.lines import Mark, Unreadable, Word, scan, split
from reconciler.importers.programs import Program, Refused, program
from reconciler.shell import join

nasty = st.sampled_from(
    ["", "-", "$(x)", "`x`", "$HOME", "~", "a b", "\n", "'", '"', "\\", "{a,b}", "#", ";", "2>", "é"]
)
argvs = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | nasty, min_size=1
)


@given(argvs)
@example(["a", "", "it's", '"', "$x", "#c"])
def test_what_the_shell_floor_quotes_comes_back_as_it_was(argv: list[str]) -> None:
    tokens = scan(join(argv))
    assert all(isinstance(token, Word) and not token.live for token in tokens)
    assert [token.text for token in tokens] == argv


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (scan, split):
        try:
            tokens = read(text)
        except Unreadable as error:
            assert str(error).endswith("has no partner")
        else:
            assert all(isinstance(token, Word | Mark) for token in tokens)


def test_continuations_comments_and_quotes() -> None:
    line = 'vllm serve a/b \\\n  --x \'{"k": 1}\' \\   \n  --y "a \\"b\\" c" # the end\n'
    assert [t.text for t in scan(line)] == ["vllm", "serve", "a/b", "--x", '{"k": 1}', "--y", 'a "b" c', "\n"]
    assert [w.text for w in split("a \\\n b # c; d | e $HOME")] == ["a", "b", "#", "c;", "d", "|", "e", "$HOME"]


@pytest.mark.parametrize(
    ("line", "live"),
    [
        ("$HOME/x", "$HOME"),
        ('"${A:-b}"', "${A:-b}"),
        ("a$(date +%s)b", "$(date +%s)"),
        ("`date`", "`date`"),
        ("~/models", "~"),
        ("{a,b}", "{a,b}"),
        ("$1", "$1"),
        ("$'a'", "$'a'"),
    ],
)
def test_what_a_shell_would_replace_is_pointed_out(line: str, live: str) -> None:
    (word,) = scan(line)
    assert isinstance(word, Word)
    assert word.live == (live,)


@pytest.mark.parametrize("line", ["'$HOME'", "\\$HOME", "a~b", "'{a,b}'", "{a}", "a#b", "$", '"a*"'])
def test_and_what_it_would_not_is_text(line: str) -> None:
    (word,) = scan(line)
    assert isinstance(word, Word)
    assert word.live == ()


def test_a_program_with_what_stands_around_it() -> None:
    line = "export A='x y' && cd /srv/app; set -e\nB=2 exec env C=3 bash -lc 'D=4 vllm serve m' > /tmp/log 2>&1 | tee -a /x"
    assert program(line) == Program(
        argv=["vllm", "serve", "m"],
        env={"A": "x y", "B": "2", "C": "3", "D": "4"},
        workdir="/srv/app",
        left_out=[
            "> /tmp/log: the output stays in the container's log",
            "2>& 1: the output stays in the container's log",
            "| tee: the output stays in the container's log",
            "`set -e`: about the shell, which there is none of",
        ],
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("vllm serve a | grep b", "`|` needs a shell, and a container runs one program"),
        ("vllm serve a &", "`&` needs a shell, and a container runs one program"),
        ("a || b", "`||` needs a shell, and a container runs one program"),
        ("(a)", "`(` needs a shell, and a container runs one program"),
        ("a < b", "`<` needs a shell, and a container runs one program"),
        (
            "pip install x && vllm serve a",
            "`pip install x` would run before the program: put it into the image, or into a mod",
        ),
        (
            "hf login --token hf_abcdefghijkl && x",
            "`hf login --token ***` would run before the program: put it into the image, or into a mod",
        ),
        ("vllm serve $MODEL", "`$MODEL` is something that only a shell could fill in"),
        ("vllm serve $(cat m)", "`$(cat m)` is something that only a shell could fill in"),
        ("A=$B vllm", "`$B` is something that only a shell could fill in"),
        ("bash -c 'vllm serve $0' m", "`bash -c` with arguments needs a shell"),
        ("env -u A vllm", "`env -u` is not something this importer knows"),
        ("vllm 'x", "a ' has no partner"),
        ("", "it starts no program"),
        ("A=b", "it starts no program"),
        ("# nothing", "it starts no program"),
        ('sh -c \'sh -c "sh -c \\"sh -c \\\\\\"sh -c x\\\\\\"\\""\'', "a shell inside a shell, more than 4 deep"),
    ],
)
def test_what_needs_a_shell_is_refused_in_words(line: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        program(line)
    assert str(refused.value) == why
