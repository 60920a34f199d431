"""Images that a Spark builds: when, from what, one at a time, and what is said when it fails."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.act import Result, act
from reconciler.building import Folders, script_of, why
from reconciler.built import archive
from reconciler.hosts import Host
from reconciler.linkdown import LinkDown, OutputTooLong
from reconciler.model import Failure, Held, Plan, Step, Verb
from reconciler.plan import plan
from reconciler.sessions import Outcome
from reconciler.shell import guarded
from reconciler.target import Target
from state.contexts import Context, ContextRefused
from state.folders import FolderFile, content_digest
from tests.unit.reconciler.builders import NOW, container, declare, named, only, sight, world

BASE = "nvcr.io/nvidia/pytorch:1"
FILES = st.lists(
    st.builds(
        FolderFile,
        path=st.from_regex(r"[a-z][a-z0-9 ._-]{0,9}(/[a-z][a-z0-9 ._-]{0,9}){0,3}", fullmatch=True),
        data=st.binary(max_size=600),
        executable=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda file: file.path.partition("/")[0],
)


def context(page: str = "one", *, name: str = "site") -> Context:
    files = (FolderFile(path="Dockerfile", data=b"FROM x\n"), FolderFile(path="page", data=page.encode()))
    return Context(name=name, files=files, digest=content_digest(files))


def site(page: str = "one", *, base: str = f", base: '{BASE}'", args: str = "", more: str = "") -> Target:
    build = f"{{context: site{base}{args}}}"
    recipe = f"{{image: mine/site, port: 8000, build: {build}}}"
    return declare(f"services:\n  web: {{recipe: {recipe}, on: s1}}\n{more}", contexts={"site": context(page)})


def planned(target: Target, *there: str, **more: object) -> Plan:
    return plan(target, world(sights={"s1": sight(images=frozenset(there))}, **more))


def verbs(found: Plan) -> list[Verb]:
    return [step.verb for step in found.steps]


def reasons(found: Plan) -> list[tuple[str, str]]:
    return [(held.reason, held.message) for held in found.held]


def test_its_base_is_fetched_then_it_is_built_then_it_starts() -> None:
    target = site()
    image = only(target).spec.image
    [fetch] = planned(target).steps
    assert (fetch.verb, fetch.argv, fetch.image) == (Verb.PULL, ("docker", "pull", BASE), BASE)
    assert fetch.cause == f"{image} is built upon {BASE}, which is not on s1"
    assert fetch.login is not None, "it may be that only who logs in sees it"
    assert fetch.login.registry == "nvcr.io"
    waits = planned(target, pulling=frozenset({("s1", BASE)}))
    assert (waits.steps, reasons(waits)) == ((), [("Pulling", f"s1 is fetching {BASE}")])
    [build] = planned(target, BASE).steps
    tag = image.partition(":")[2]
    assert build == Step(
        verb=Verb.BUILD,
        spark="s1",
        workload="web",
        argv=(
            *("docker", "build", "--label", f"sparkkeep.build={tag}", "--tag", image),
            *("--build-arg", f"BASE={BASE}", "-"),
        ),
        cause=f"{image} is not on s1 (no container of it on this Spark)",
        consequence=f"site/ is sent (2 files, 1 KiB), and {image} is built from it; what runs goes on running",
        image=image,
        content=context().digest,
        name="sparkkeep-web",
        timeout=7200.0,
    )
    waits = planned(target, BASE, building=frozenset({("s1", image)}))
    assert (waits.steps, reasons(waits)) == ((), [("Building", f"s1 is building {image}")])
    assert verbs(planned(target, image)) == [Verb.CREATE], "the base may be gone by then"


def test_without_a_base_of_its_own_nothing_is_fetched_first() -> None:
    target = site(base="")
    [build] = planned(target).steps
    assert (build.verb, build.argv[-2:]) == (Verb.BUILD, (only(target).spec.image, "-"))


def test_what_runs_is_replaced_once_the_new_image_is_there() -> None:
    old, new = site("one"), site("two")
    before = only(old)
    up = container(before)
    there = (BASE, before.spec.image)

    def seen(*images: str) -> Plan:
        return plan(new, world(sights={"s1": sight(up, images=frozenset(images))}))

    assert verbs(seen(*there)) == [Verb.BUILD]
    assert "changed: image mine/site:" in seen(*there).steps[0].cause
    assert verbs(seen(*there, only(new).spec.image)) == [Verb.STOP, Verb.REMOVE, Verb.CREATE]
    assert plan(old, world(sights={"s1": sight(up, images=frozenset(there))})).steps == ()


@pytest.mark.parametrize(
    "other",
    [site("two"), site(base=", base: 'x/y:2'"), site(args=", args: {A: '1'}"), site(base="", args=", args: {A: '1'}")],
)
def test_another_content_base_or_argument_is_another_image(other: Target) -> None:
    image = only(site()).spec.image
    assert image == only(site()).spec.image
    assert only(other).spec.image != image
    assert only(other).spec.image.partition(":")[0] == "mine/site"


def test_one_image_at_a_time_and_one_build_for_all_that_need_it() -> None:
    build = f"{{context: site, base: '{BASE}'}}"
    more = f"  twin: {{recipe: {{image: mine/site, port: 8001, build: {build}}}, on: s1}}\n"
    target = site(more=more)
    assert named(target, "web").spec.image == named(target, "twin").spec.image
    assert verbs(planned(target, BASE)) == [Verb.BUILD]
    different = "  other: {recipe: {image: mine/other, port: 8001, build: {context: site}}, on: s1}\n"
    target = site(more=different)
    [build] = planned(target, BASE).steps
    assert build.image == named(target, "other").spec.image
    found = planned(target, BASE, building=frozenset({("s1", build.image)}))
    assert (found.steps, reasons(found)) == (
        (),
        [
            ("Building", f"s1 is building {build.image}"),
            ("WaitingTurn", f"s1 is building {build.image}; images are built one at a time"),
        ],
    )
    elsewhere = planned(target, BASE, building=frozenset({("s2", build.image)}))
    assert verbs(elsewhere) == [Verb.BUILD]


def test_a_build_that_failed_waits_and_a_change_of_the_folder_ends_the_wait() -> None:
    instance = only(site())
    failed = Failure(
        count=3, reason="BuildFailed", message="no", spec_hash=instance.spec_hash, at=NOW, retry_at=NOW + 9
    )
    found = planned(site(), BASE, failures={("web", "s1"): failed})
    assert found.steps == ()
    [held] = found.held
    assert (held.reason, held.until) == ("BuildFailed", NOW + 9)
    assert verbs(planned(site("mended"), BASE, failures={("web", "s1"): failed})) == [Verb.BUILD]


@pytest.mark.parametrize(
    ("contexts", "message"),
    [
        ({}, "build context site: it has not been read yet"),
        (
            {"site": ContextRefused("build context site: it has no Dockerfile")},
            "build context site: it has no Dockerfile",
        ),
    ],
)
def test_what_can_not_be_sent_is_not_launched_and_what_runs_stays(contexts: dict[str, Context], message: str) -> None:
    up = container(only(site()))
    target = declare(
        "services: {web: {recipe: {image: mine/site, port: 8000, build: {context: site}}, on: s1}}", contexts=contexts
    )
    found = plan(target, world(sights={"s1": sight(up)}))
    assert found.steps == ()
    assert Held(spark="s1", workload="web", reason="NotLaunchable", message=message, terminal=True) in found.held


def extracted(data: bytes) -> dict[str, tuple[bytes, bool]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert all((entry.uid, entry.mtime) == (0, 0) for entry in tar.getmembers())
        return {
            entry.name: (file.read(), bool(entry.mode & 0o100))
            for entry in tar.getmembers()
            if (file := tar.extractfile(entry)) is not None
        }


@given(FILES)
def test_the_tar_is_the_folder_and_always_the_same(files: list[FolderFile]) -> None:
    made = Context(name="x", files=tuple(files), digest=content_digest(files))
    data = archive(made)
    assert extracted(data) == {file.path: (file.data, file.executable) for file in files}
    assert archive(made) == data


class Spark:
    """A Spark whose docker writes down what it is sent."""

    def __init__(self, folder: Path, *, says: str = "", status: int = 0, fails: LinkDown | None = None) -> None:
        self.folder, self.fails = folder, fails
        docker = folder / "docker"
        docker.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/argv\ncat > {folder}/sent\n{says}\nexit {status}\n'
        )
        docker.chmod(0o755)

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        if self.fails is not None:
            raise self.fails
        path = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        done = subprocess.run(
            ["sh"], input=guarded(script), text=True, capture_output=True, env=path, check=False, timeout=60
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


def build_step() -> Step:
    return planned(site(), BASE).steps[0]


async def test_the_context_arrives_whole_and_the_status_is_that_of_the_build(tmp_path: Path) -> None:
    spark, step = Spark(tmp_path), build_step()
    report = await act(
        step, cast(Host, spark), str, context=lambda digest: context() if digest == step.content else None
    )
    assert report.result is Result.DONE
    assert (tmp_path / "argv").read_text().splitlines() == [str(word) for word in step.argv[1:]]
    assert extracted((tmp_path / "sent").read_bytes()) == {"Dockerfile": (b"FROM x\n", False), "page": (b"one", False)}


async def test_a_folder_that_changed_meanwhile_is_planned_again(tmp_path: Path) -> None:
    report = await act(build_step(), cast(Host, Spark(tmp_path)), str)
    assert report.result is Result.NOT_DONE
    assert not (tmp_path / "argv").exists()


async def test_the_last_lines_of_a_build_that_failed_are_told(tmp_path: Path) -> None:
    says = "for n in 1 2 3 4 5 6 7 8 9; do echo line $n; done; echo 'ERROR: No matching distribution found for x' >&2"
    report = await act(build_step(), cast(Host, Spark(tmp_path, says=says, status=1)), str, context=lambda _: context())
    assert report.result is Result.FAILED
    assert report.why is not None
    assert (report.why.reason, report.why.terminal) == ("BuildFailed", False)
    assert report.why.message == (
        "`docker build` failed. Its last lines: line 3 | line 4 | line 5 | line 6 | line 7 | line 8 | line 9 | "
        "ERROR: No matching distribution found for x"
    )


async def test_a_build_without_end_counts_as_failed_and_a_lost_answer_does_not(tmp_path: Path) -> None:
    """Were it Unknown, it would be begun again at once, and for ever."""
    talks = Spark(tmp_path, fails=OutputTooLong("OutputTooLong", "the command printed more than 8 MiB"))
    report = await act(build_step(), cast(Host, talks), str, context=lambda _: context())
    assert report.result is Result.FAILED
    assert report.why is not None
    assert report.why.reason == "BuildFailed"
    assert "more than 8 MiB" in report.why.message


@pytest.mark.parametrize(
    ("output", "reason", "terminal"),
    [
        ("manifest for x/y:1 not found: manifest unknown: manifest unknown", "ImageNotFound", True),
        ("write /usr/lib/x: no space left on device", "DiskFull", False),
        ("torch.OutOfMemoryError: CUDA out of memory", "BuildFailed", False),
        ("error: unrecognized arguments: --fast", "BuildFailed", False),
        ("", "BuildFailed", False),
    ],
)
def test_what_a_build_has_in_common_with_a_fetch_is_known_and_the_rest_is_quoted(
    output: str, reason: str, terminal: bool
) -> None:
    found = why(output)
    assert (found.reason, found.terminal) == (reason, terminal)
    assert output in found.message


async def test_folders_are_read_again_and_told_apart(tmp_path: Path) -> None:
    place = tmp_path / "site"
    place.mkdir()
    (place / "Dockerfile").write_text("FROM x\n")
    folders = Folders([tmp_path])
    assert await folders.read({"site"})
    first = folders.found["site"]
    assert isinstance(first, Context)
    assert folders.content(first.digest) == first
    assert not await folders.read({"site"})
    (place / "Dockerfile").write_text("FROM y\n")
    assert await folders.read({"site"})
    assert folders.content(first.digest) is None
    shutil.rmtree(place)
    assert await folders.read({"site"})
    assert isinstance(folders.found["site"], ContextRefused)
    assert await folders.read(())
    assert folders.found == {}


def test_the_largest_context_is_a_script_that_a_shell_can_read(tmp_path: Path) -> None:
    files = (FolderFile(path="Dockerfile", data=b"FROM x\n" + bytes(8 * 2**20 - 7)),)
    large = Context(name="x", files=files, digest="")
    Spark(tmp_path)
    script = guarded(script_of(("docker", "build", "-"), large))
    for shell in filter(shutil.which, ("dash", "bash")):
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run([shell], input=script, text=True, env=path, check=True, timeout=50)
        assert (tmp_path / "sent").stat().st_size > 8 * 2**20
