"""A practice Spark's disk, surveyed by the script that surveys a real one; and its tools against the real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.disks.found import DiskSurvey
from reconciler.disks.read import read
from reconciler.disks.script import script
from reconciler.disks.where import places
from reconciler.hostkeys import HostKeys
from reconciler.linkdown import LinkDown
from reconciler.practice.files import Files
from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.spark import Settings, Spark
from reconciler.remote import RemoteHost
from reconciler.shell import guarded
from reconciler.ssh import Link
from reconciler.surveyor import Surveyor
from state.desired import Spark as Declared

NONCE = "0123456789abcdef0123456789abcdef"


async def pretend(spark: Spark, text: str) -> tuple[int, str, str]:
    out, error = Buffer(), Buffer()
    status = await spark.console.run("exec sh", Io(Input(text.encode()), out, error))
    return status, out.text, error.text


def real(home: Path, text: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["sh"],
        check=False,
        input=text,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C"},
        cwd=home,
    )
    return done.returncode, done.stdout, done.stderr


def written_out(files: Files, home: Path) -> None:
    """The practice home on a real disk; large files are holes."""
    for folder in sorted(files.folders):
        if folder.startswith(files.home):
            (home / folder[len(files.home) + 1 :]).mkdir(parents=True, exist_ok=True)
    for path, data in files.content.items():
        if path.startswith(files.home):
            there = home / path[len(files.home) + 1 :]
            there.write_bytes(data)
            os.truncate(there, files.sizes.get(path, len(data)))
            os.utime(there, (files.changed.get(path, 0.0),) * 2)
    for path, target in files.links.items():
        (home / path[len(files.home) + 1 :]).symlink_to(target)


def moved(survey: DiskSurvey, home: str, there: str) -> DiskSurvey:
    """The same survey, had it been made of a home elsewhere."""

    def renamed(values):
        return tuple(replace(value, path=value.path.replace(home, there)) for value in values)

    return replace(
        survey, models=renamed(survey.models), ggufs=renamed(survey.ggufs), nims=renamed(survey.nims), spark_time=0.0
    )


@pytest.mark.parametrize("number", [1, 2])
async def test_a_practice_spark_and_a_real_shell_tell_the_same(tmp_path: Path, number: int) -> None:
    spark = Spark("spark", number, settings=Settings(serve=False))
    written_out(spark.engine.files, tmp_path)
    asked = guarded(script(NONCE, places()))
    status, out, error = await pretend(spark, asked)
    assert (status, error) == (0, "")
    said = real(tmp_path, asked)
    assert (said[0], said[2]) == (0, "")
    practice = read(out, NONCE, places(), taken_at=1.0)
    assert moved(practice, "/home/practice", str(tmp_path)) == replace(
        read(said[1], NONCE, places(), taken_at=1.0), spark_time=0.0
    )
    assert practice.problems == practice.others == ()
    await spark.close()


async def test_what_lies_on_the_first_practice_spark(spark: Spark) -> None:
    _, out, _ = await pretend(spark, guarded(script(NONCE, places())))
    survey = read(out, NONCE, places(), taken_at=1.0)
    seen = {model.repo: model.revisions[0] for model in survey.models}
    assert {repo: revision.complete for repo, revision in seen.items()} == {
        "Qwen/Qwen3-8B": True,
        "microsoft/phi-4": True,
        "openai/gpt-oss-20b": False,
    }
    assert seen["openai/gpt-oss-20b"].missing == ("model-00003-of-00003.safetensors",)
    assert seen["microsoft/phi-4"].refs == ("main",)
    assert seen["microsoft/phi-4"].configs["config.json"]["architectures"] == ["Phi3ForCausalLM"]
    assert [gguf.name for gguf in survey.ggufs] == ["Qwen3-4B-Instruct-2507-Q4_K_M.gguf"]
    assert [(nim.name, nim.complete) for nim in survey.nims] == [("nim/meta/llama-3.1-8b-instruct", True)]


SAME = (
    "cd .cache/huggingface && pwd && ls",
    "find .cache -type d | sort",
    "find .cache -maxdepth 3 | sort",
    "find models -mindepth 1 -print0 | base64",
    "find .cache -name '*.json' -type l | sort",
    "find .cache ! -type d ! -type l -size +1000k | sort",
    "find .cache -size -300c -type f | sort",
    "find . \\( -name snapshots -prune -o -name .cache \\) -print | sort",
    "find . -name snapshots -prune -o -type l -print | sort",
    "find -L . -name 'model-*' -type f | sort",
    "find nowhere",
    "find . -nonsense",
    "find . -name '*.gguf' -exec stat -c '%n %s %f %Y %F' {} +",
    'find . -name config.json -exec sh -c \'for f in "$@"; do [ -f "$f" ] && [ -L "$f" ] && echo "$f"; done\' sh {} + | sort',
    "stat -c %s nowhere",
    "stat -L -c '%s %F' .cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/b968826d9c46dd6066d109eabc6255188de91218/config.json",
    'f=$(find . -name config.json | sort | head -n 1); base64 "$f"; head -c 5 "$f"; readlink "$f"',
    'f=$(find . -name config.json | sort | head -n 1); grep -oE \'"[a-z_]{1,9}"|: [0-9]+\' "$f" | sort -u',
    "echo a | grep -HoE a; echo $?",
    "f=$(find . -name config.json | sort); grep -HoE '\"[a-z_]{1,9}\"' $f; grep -oE '\"[a-z_]{1,9}\"' $f | uniq | sort",
    "printf 'a\\na\\nb\\na\\n' | uniq",
    'set -- a \'b c\' d; n=$#; for f in "$@"; do [ "$f" = d ] || set -- "$@" "$f"; done; shift "$n"; printf \'<%s>\' "$@"',
    "head -n 2 nowhere",
    "base64 nowhere",
    "grep -oE a nowhere; echo $?",
    "echo a/b/c | tr / _",
    "for d in /a/b /a / a a/b/ a//b; do dirname $d; done",
    "echo aGkK | base64 -d",
    "printf 'b\\na\\nb\\n' | sort; printf 'b\\na\\nb\\n' | sort -u",
    "printf 'one\\ntwo' | head -n 1; printf abc | head -c 2",
    "[ -e .cache ] && [ -d .cache ] && [ -r .cache ] && [ -x .cache ] && echo yes; [ -e nowhere ] || echo no",
)


@pytest.mark.skipif(shutil.which("dash") is None, reason="dash is not installed")
@pytest.mark.parametrize("text", SAME)
async def test_like_the_real_tools(spark: Spark, tmp_path: Path, text: str) -> None:
    written_out(spark.engine.files, tmp_path)
    status, out, error = await pretend(spark, f"{{\n{text}\n}}\n")
    assert (status, out.replace("/home/practice", str(tmp_path)), error) == real(tmp_path, f"{{\n{text}\n}}\n")


async def test_links_of_the_practice_disk(spark: Spark) -> None:
    files = spark.engine.files
    files.links |= {"/tmp/a": "b", "/tmp/b": "a", "/tmp/home": files.home, "/tmp/gone": "nowhere"}
    assert (await pretend(spark, "{\n[ -e /tmp/a ]; echo $?; [ -L /tmp/a ]; echo $?; cat /tmp/a\n}\n"))[1:] == (
        "1\n0\n",
        "cat: /tmp/a: Too many levels of symbolic links\n",
    )
    assert (await pretend(spark, "{\ncd /tmp/home; pwd; pwd -P; [ -d models ]; echo $?\n}\n"))[1] == (
        "/tmp/home\n/home/practice\n0\n"
    )
    assert (await pretend(spark, "{\nrm /tmp/gone /tmp/home; ls /tmp; ls\n}\n"))[1].startswith("a\nb\n")
    assert "models" in files.names(files.home)


async def test_a_survey_over_ssh(fleet: PracticeFleet, tmp_path: Path) -> None:
    declared = fleet.desired_sparks()["spark-1"]
    at = Declared.model_validate(declared)
    keys = HostKeys([fleet.known_hosts_path], own=tmp_path / "own")
    host = RemoteHost(Link("spark-1", at, keys, key_path=fleet.key_path, config=()), at.socket, "sparkkeep")
    try:
        surveyor = Surveyor("spark-1")
        survey = await surveyor.run(host)
        assert [model.repo for model in survey.models] == ["Qwen/Qwen3-8B", "microsoft/phi-4", "openai/gpt-oss-20b"]
        assert surveyor.seen.survey is survey
        fleet["spark-1"].switches.cut_output = 2000
        with pytest.raises(LinkDown):
            await surveyor.run(host)
        assert (surveyor.seen.survey, surveyor.seen.reason) == (survey, "ConnectionLost")
    finally:
        await host.close()
