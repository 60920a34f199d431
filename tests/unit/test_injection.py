"""Hostile values in every field, through every sink: nothing happens beyond the argv that was planned.

Each example ends in a real shell whose PATH holds nothing but stand-ins that write their argv down, in an empty folder
that must stay empty. Either the boundary refuses the value, in words and with its field, or the program gets exactly
the planned words: no other program runs, no file appears, and the shell has nothing to complain about.
`SPARKKEEP_LONG=1` runs 5,000 examples for each sink.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.app import build as build_app
from reconciler import launch
from reconciler.act import script_of
from reconciler.disks.read import read
from reconciler.disks.script import script as survey_script
from reconciler.disks.where import Layout, Place
from reconciler.engines import Fabric, scripts
from reconciler.importers.sparkrun import read_recipe
from reconciler.model import SPEC, Instance, Step, Verb
from reconciler.place import Placements
from reconciler.practice.docker_flags import parse
from reconciler.practice.docker_usage import COMMANDS
from reconciler.preflight.ask import questions
from reconciler.shell import Argv, Home, guarded, home_path, join, with_login
from reconciler.target import Known, Overrides, Target, build
from reconciler.weights.cache import assign
from state.folders import FILE_NAME
from state.load import Loaded, load_text
from state.problems import Invalid, Problem, dotted
from state.secrets import SecretRefused, Secrets
from tests.unit.api.conftest import Stage, staged

LONG = os.environ.get("SPARKKEEP_LONG") == "1"
COUNT = 5000 if LONG else 300
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
STAND_INS = ("docker", "curl", "mkdir", "rm")

pytestmark = pytest.mark.timeout(1800 if LONG else 120)
many = settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # a failure is shown as it came: shrinking runs thousands of shells
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

NASTY = (
    "; touch pwned", "$(touch pwned)", "`touch pwned`", "$(>pwned)", "`>pwned`", "> pwned", "\n>pwned\n", "'; >pwned; '",
    '"; >pwned; "', "'\"'\"'", "| tee pwned", "&& /usr/bin/touch pwned", "& /usr/bin/touch pwned &", "${IFS}", "${IFS}>pwned",
    "$HOME", "~", "*", "-", "--", "-rf", "-v", "--privileged", "--rm", "--name=x", "-o/tmp/pwned", "\\", "\\\n", "\n", "\r\n", "\t",
    "a b", "", "#", "{", "}", "(", ")", "!", "!!", "[", "]", "exec sh", "exit 0", "EOF", "<<EOF", "<(id)", "$((1/0))", "${x?}", "$'\\n'",
    "é", "日本", "🦊", "\u2028", "\ufeff", "\x1b[0m", "\x7f", "%s%n", "a=b", "a,b", "type=bind,source=/", "..", "../../etc", "/", ":", "\0", "a\0b",
)  # fmt: skip
shelly = st.text("'\"\\$`!(){}[]<>|&;#~*?= \n\t\r-,:/.ax0", max_size=12)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
pieces = st.sampled_from(NASTY) | shelly | anything
hostile = pieces | st.lists(pieces, min_size=2, max_size=3).map("".join) | st.just("\ud800")
words = hostile.map(lambda text: text.replace("\0", "").replace("\ud800", ""))  # what may stand in an argv


# The shell and its stand-ins


@dataclass(frozen=True)
class Room:
    """An empty folder, a home, and a PATH of stand-ins that write their argv to `log`."""

    canary: Path
    home: Path
    path: Path
    log: Path

    @classmethod
    def of(cls, base: Path, names: Iterable[str] = STAND_INS) -> Room:
        room = cls(base / "canary", base / "home", base / "bin", base / "log")
        for folder in (room.canary, room.home, room.path):
            folder.mkdir(parents=True)
        for name in names:
            program = room.path / name
            program.write_text(f'#!/bin/sh\nprintf \'%s\\0\' "$#" "${{0##*/}}" "$@" >> \'{room.log}\'\n')
            program.chmod(0o755)
        return room

    def run(self, script: str, shell: str, **more: str) -> list[tuple[str, ...]]:
        """The script as a Spark gets it; every program that ran, with its words."""
        self.log.write_bytes(b"")
        env = {"PATH": str(self.path), "HOME": str(self.home), "LC_ALL": "C.UTF-8", **more}
        done = subprocess.run(
            [shutil.which(shell) or shell],
            input=guarded(script).encode(),
            capture_output=True,
            cwd=self.canary,
            env=env,
            timeout=20,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), (script, done)
        assert not list(self.canary.iterdir()), script
        return self.called()

    def called(self) -> list[tuple[str, ...]]:
        found, told = [], self.log.read_bytes().decode().split("\0")[:-1]
        while told:
            count = int(told[0])
            found.append(tuple(told[1 : count + 2]))
            told = told[count + 2 :]
        return found

    def expand(self, argv: Argv) -> tuple[str, ...]:
        """The words that the program must get: `$HOME` is the Spark's to fill in, everything else is as it stands."""
        return tuple(f"{a.before}{self.home}{a.after}" if isinstance(a, Home) else a for a in argv)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room.of(tmp_path)


shells = st.sampled_from(SHELLS)


# Sink: docker run and its companions, from a desired state

FABRIC = {
    "s1": Fabric(address="10.0.0.1", interface="enp1s0", rdma=("rocep1s0f0",), gid_index=3, memory=2**37),
    "s2": Fabric(address="10.0.0.2", interface="enp1s0", memory=2**37),
}
HASHES = {"fix": "1" * 32, "mods/two": "2" * 32}
GENERAL = {
    "description": "d", "source": "s", "image": "a/b:1", "env": {"KEY": "v", "TOKEN": {"secret": "token"}},
    "mounts": [{"source": "$HOME/data", "target": "/data", "create": True}, {"source": "vol", "target": "/v"}],
    "user": "1000:1000", "workdir": "/w", "ulimits": {"memlock": -1}, "devices": ["/dev/infiniband"],
    "capAdd": ["IPC_LOCK"], "securityOpt": ["no-new-privileges"], "probe": {"kind": "http", "path": "/health"}, "port": 8000,
    "memory": "1GiB", "shm": "1GiB", "restart": "no", "network": "host", "stopTimeout": "5s", "pull": "missing",
}  # fmt: skip
ENGINES: dict[str, dict[str, Any]] = {
    "container": {"command": ["c", "d"], "entrypoint": ["e", "f"], "flags": {"x": "y"}, "mods": ["fix"]},
    "vllm": {"model": "o/n", "revision": "main", "flags": {"x": "y", "z": ["p", "q"]}, "mods": ["fix", "mods/two"]},
    "sglang": {"model": "o/n", "flags": {"x": {"k": "v"}}, "entrypoint": ["e"]},
    "trtllm": {"model": "o/n", "flags": {"extra_llm_api_options": {"k": "v"}, "x": "y"}},
    "llamacpp": {"model": "o/n", "quant": "Q4_K_M", "flags": {"x": ["y"]}},
    "nim": {"env": {"NIM_SERVED_MODEL_NAME": "n", "NGC_API_KEY": {"secret": "token"}}, "flags": {"x": "y"}},
}
LINES = {"description", "source", "KEY", "NIM_SERVED_MODEL_NAME"}  # any text of one line
FREE = {"command", "entrypoint", "flags"}  # any text may stand there
ALLOWED = {
    *("detach", "name", "label", "restart", "pull", "stop-timeout", "network", "ipc", "gpus", "shm-size", "user"),
    *("workdir", "ulimit", "device", "cap-add", "security-opt", "env", "env-file", "mount", "entrypoint"),
}
SCRIPTS = {scripts.MODS, scripts.OPTIONS, scripts.RAY_HEAD, scripts.RAY_WORKER}
Path_ = tuple[str | int, ...]


def leaves(node: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The path of every text, and of every key that is a name (marked by None at the end)."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key, "<key>")
            yield from leaves(value, (*path, key))
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from leaves(value, (*path, at))
    else:
        yield path


def replaced(node: Any, path: Path_, text: str) -> Any:
    """The same document with this text in that place."""
    head, *rest = path
    if rest == ["<key>"]:
        return {(text if key == head else key): value for key, value in node.items()}
    put = text if not rest else replaced(node[head], tuple(rest), text)
    if isinstance(node, dict):
        return {**node, head: put}
    return [put if at == head else item for at, item in enumerate(node)]


@st.composite
def declared(draw: st.DrawFn) -> tuple[dict[str, Any], Path_, str]:
    """A desired state that is well but for hostile text in one place, and in every place where any text may stand."""
    engine = draw(st.sampled_from(sorted(ENGINES)))
    own = ENGINES[engine]
    recipe = {"engine": engine, **GENERAL, **own, "env": {**GENERAL["env"], **own.get("env", {})}}
    for path in [p for p in leaves(recipe) if p[0] in FREE and p[-1] != "<key>"]:
        recipe = replaced(recipe, path, draw(words))
    if engine == "vllm" and draw(st.booleans()):
        recipe["distributed"] = draw(st.sampled_from(["ray", "native"]))
        where: dict[str, Any] = {"across": ["s1", "s2"]}
    else:
        where = {"on": ["s1"]}
    section = "services" if engine == "container" else "models"
    sparks = {
        "s1": {"host": "h", "user": "u", "key": "/k", "jump": "j", "socket": "/run/docker.sock", "interface": "enp1s0"},
        "s2": {"host": "h2"},
    }
    document = {
        "apiVersion": "sparkkeep/v1",
        "sparks": sparks,
        section: {"m": {"recipe": recipe, **where, "aliases": ["al"], "description": "d"}},
        "settings": {"owner": "me"},
    }
    places = sorted(leaves(document), key=repr)
    if draw(st.booleans()):  # where a text of one line may say anything
        where_to = draw(st.sampled_from([p for p in places if p[-1] in LINES and p[-2] in {"recipe", "env", "m"}]))
        text = draw(words).replace("\n", "").replace("\r", "")
    else:
        where_to, text = draw(st.sampled_from(places)), draw(hostile)
    return replaced(document, where_to, text), where_to, text


def bound(loaded: Loaded) -> Target:
    return build(
        loaded.desired,
        loaded.resolved.values(),
        revision="r",
        generations={},
        overrides=Overrides(),
        placements=Placements(on={}, waiting={}),
        known=Known(fabric=FABRIC, mods=HASHES),
    )


def about(problem: Problem, where: Path_, text: str) -> bool:
    """Whether a refusal names this place, or the list or map in which it stands; a character names its line."""
    *above, last = (text if part == "<key>" else part for part in where)
    if where[-1] == "<key>":
        above = above[:-1]
    return problem.field in {dotted([*above, last]), dotted(above)} if problem.field else problem.line > 0


SEEN: dict[str, int] = {}


@many
@given(declared(), shells)
def test_a_desired_state_is_refused_in_words_or_becomes_exactly_its_argv(
    room: Room, made: tuple[dict[str, Any], Path_, str], shell: str
) -> None:
    document, where, text = made
    try:
        loaded = load_text(json.dumps(document), "desired.yaml")
    except Invalid as refused:
        assert all(problem.message for problem in refused.problems)
        assert any(about(problem, where, text) for problem in refused.problems), (where, refused)
        SEEN["refused"] = SEEN.get("refused", 0) + 1
        return
    target = bound(loaded)
    for found in target.instances.values():
        for instance in found:
            argvs = [target.creations[instance.spark, instance.name].argv, launch.pull(instance.spec.image)]
            if instance.create_folders:
                argvs.append(launch.make_folders(instance.create_folders))
            ran = room.run("\n".join(join(argv) for argv in argvs), shell)
            assert ran == [room.expand(argv) for argv in argvs]
            _docker_reads_nothing_else(instance, ran[0])
            SEEN["ran"] = SEEN.get("ran", 0) + 1
    for held in target.refused:
        assert held.reason == "NotLaunchable"
        assert held.message


def _docker_reads_nothing_else(instance: Instance, ran: Sequence[str]) -> None:
    """What was planned as a value is a value to docker too, and no script inside the container holds any of it."""
    spec = instance.spec
    said = parse(COMMANDS["run"], list(ran[2:]))
    assert set(said.flags) <= ALLOWED
    assert said.arguments == [spec.image, *(spec.entrypoint or ())[1:], *spec.command]
    assert said.all("name") == [instance.name]
    assert dict(label.split("=", 1) for label in said.all("label"))[SPEC] == spec.canonical()
    assert said.all("env") == [f"{key}={value}" for key, value in spec.env]
    for mount in said.all("mount"):
        keys = [part.partition("=")[0] for part in mount.split(",")]
        assert keys in (["type", "source", "target"], ["type", "source", "target", "readonly"]), mount
    inside = [*(spec.entrypoint or ()), *spec.command]
    for at, word in enumerate(inside):
        if word.startswith(scripts.SIGNED) and inside[at - 2 : at - 1] == ["-c"] and inside[at - 3] == "sh":
            assert inside[at - 1] in SCRIPTS


@pytest.mark.parametrize("text", ['"<<EOF": 1', 'models: {"<x": {recipe: r}}', 'sparks: {s: {"<map>": 1}}'])
def test_a_key_that_looks_like_a_mark_of_pydantics_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        load_text(text, "desired.yaml")
    assert any("<" in problem.field for problem in refused.value.problems)


def test_both_ways_were_taken() -> None:
    """The test above refused some and ran others; it runs before this one."""
    if SEEN:
        assert min(SEEN["ran"], SEEN["refused"]) > COUNT // 10, SEEN


# Sink: the other docker commands, and any argv


@many
@given(words, st.lists(words, max_size=3), st.floats(0, 1e5), st.integers(0, 10**5), shells)
def test_every_other_command_is_its_argv(
    room: Room, one: str, paths: list[str], seconds: float, tail: int, shell: str
) -> None:
    argvs = [
        launch.pull(one), launch.start(one), launch.unpause(one), launch.stop(one, seconds), launch.restart(one, seconds),
        launch.remove(one), launch.update_restart(one, one), launch.logs(one, tail=tail, follow=tail % 2 == 0),
        launch.make_folders(paths), launch.make_folders([f"$HOME/{path}" for path in paths]),
    ]  # fmt: skip
    assert room.run("\n".join(join(argv) for argv in argvs), shell) == [room.expand(argv) for argv in argvs]


# Sink: secrets


@many
@given(hostile, hostile, shells)
def test_secrets_are_refused_or_stand_in_their_file_and_nowhere_else(
    room: Room, one: str, two: str, shell: str
) -> None:
    vault = Secrets(room.home.parent / "secrets")
    values = {"A_KEY": f"marked{one}", "B_KEY": f"marked{two}"}
    step = Step(
        verb=Verb.CREATE, spark="s1", workload="m", argv=("docker", "run", "--env-file", home_path("$HOME/f"), "i"),
        cause="", consequence="", secrets=(("A_KEY", "a"), ("B_KEY", "b")), name="sparkkeep-m",
    )  # fmt: skip
    try:
        for name, value in zip("ab", values.values(), strict=True):
            vault.set(name, value)
    except SecretRefused as refused:
        assert str(refused).startswith("the secret ")
        assert any(mark in one + two for mark in "\n\r\0\ud800")
        return
    except UnicodeEncodeError as error:  # pragma: no cover
        raise AssertionError(f"a lone surrogate is no way out: {one!r}") from error
    file = room.home / ".sparkkeep/env/sparkkeep-m"
    file.parent.mkdir(parents=True, exist_ok=True)
    ran = room.run(script_of(step, vault.get), shell)
    folder = str(file.parent)
    assert ran == [("mkdir", "-p", folder), room.expand(step.argv), ("rm", "-f", str(file))]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().decode() == "".join(
        f"{key}={value.removesuffix(chr(10)).removesuffix(chr(13))}\n" for key, value in values.items()
    )
    assert not any("marked" in word for argv in ran for word in argv)
    file.unlink()
    assert [path.name for path in room.home.iterdir()] == [".sparkkeep"]


@many
@given(words, words, st.text("'\"$`\\\\; x", min_size=1, max_size=9), shells)
def test_a_login_hands_over_its_words_and_shows_its_password_to_nobody(
    room: Room, registry: str, user: str, password: str, shell: str
) -> None:
    keep = room.home / "keep"
    keep.mkdir(exist_ok=True)
    program = room.path / "mktemp"
    program.write_text(f"#!/bin/sh\necho '{keep}'\n")
    program.chmod(0o755)
    argv = launch.pull("a/b:1")
    ran = room.run(with_login(registry, user, f"marked{password}", argv), shell)
    assert ran[:2] == [("docker", "login", "--username", user, "--password-stdin", registry), argv]
    assert set(ran[2:]) == {("rm", "-rf", str(keep))}
    assert json.loads((keep / "config.json").read_text()) == {"auths": {registry: {}}}
    assert not any("marked" in word for words_ in ran for word in words_)


# Sink: the assignments that the programs for weights begin with


@many
@given(st.lists(words, min_size=1, max_size=3), shells)
def test_an_assignment_holds_its_text(room: Room, texts: list[str], shell: str) -> None:
    lines = [line for text in texts for line in (assign("it", text), 'docker "$it"')]
    lines += [assign("it", home_path(f"$HOME/{texts[0]}")), 'docker "$it"']
    ran = room.run("\n".join(lines), shell)
    assert ran == [*(("docker", text) for text in texts), ("docker", f"{room.home}/{texts[0]}")]


# Sink: recipes of other tools

SPARKRUN = {
    "recipe_version": "2", "model": "o/n", "runtime": "vllm", "container": "a/b:1", "metadata": {"description": "d"},
    "defaults": {"port": 8010, "x": "y"}, "env": {"A": "b"}, "command": "vllm serve {model} --port {port} --x {x}",
    "pre_exec": ["echo"], "mods": ["fix"],
}  # fmt: skip


@many
@given(st.data(), shells)
def test_an_imported_recipe_is_a_recipe_like_any_other(room: Room, data: st.DataObject, shell: str) -> None:
    """What an importer lets through has to pass the same boundary and ends in the same argv."""
    where = data.draw(st.sampled_from(sorted(leaves(SPARKRUN), key=repr)))
    document = replaced(SPARKRUN, where, data.draw(hostile))
    try:
        outcome = read_recipe(json.dumps(document), "recipe.yaml")
    except Invalid as refused:
        assert all(problem.message for problem in refused.problems)
        return
    for each in outcome.imported:
        written = {"sparks": {"s1": {"host": "h"}}, each.section: {"m": {"recipe": each.recipe, "on": ["s1"]}}}
        try:
            target = bound(load_text(json.dumps(written), "desired.yaml"))
        except Invalid as refused:
            assert all(problem.message for problem in refused.problems)
            continue
        for instance in target.instances["s1"]:
            argv = target.creations["s1", instance.name].argv
            assert room.run(join(argv), shell) == [room.expand(argv)]
            _docker_reads_nothing_else(instance, room.expand(argv))


# Sink: the constant scripts inside containers


def inside(tmp_path: Path) -> Room:
    """A container's programs, each a stand-in."""
    made = Room.of(tmp_path / "container", ("ray", "python3", "mkdir", "chmod", "touch", "prog"))
    (made.path / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    return made


@many
@given(st.lists(words, max_size=4), words, shells)
def test_the_options_file_and_the_program_get_their_words(
    tmp_path_factory: pytest.TempPathFactory, arguments: list[str], options: str, shell: str
) -> None:
    made = _kept(tmp_path_factory)
    file = made.home / "options.yaml"
    argv = scripts.run(scripts.OPTIONS, "options", options, str(file), "prog", *arguments)
    assert made.run(join(argv), shell) == [("prog", *arguments)]
    assert file.read_bytes().decode() == f"{options}\n"


@many
@given(st.lists(words, max_size=4), st.lists(words, min_size=5, max_size=5), shells)
def test_rays_scripts_pass_on_their_words(
    tmp_path_factory: pytest.TempPathFactory, arguments: list[str], five: list[str], shell: str
) -> None:
    made = _kept(tmp_path_factory)
    head = scripts.run(scripts.RAY_HEAD, "ray-head", *five, "prog", *arguments)
    ran = made.run(join(head), shell, VLLM_CONFIG_ROOT=str(made.home))
    own, sparks, patience, port, address = five
    assert [argv[0] for argv in ran] == ["mkdir", "ray", "python3", "prog"]
    assert ran[1][:6] == ("ray", "start", "--head", "--port", port, "--node-ip-address")
    assert ran[1][6] == address
    assert ran[2][3:] == (sparks, patience)
    assert ran[3][1:] == tuple(arguments)
    assert (made.home / "ray_non_carry_over_env_vars.json").read_bytes().decode() == f"{own}\n"
    ran = made.run(join(scripts.run(scripts.RAY_WORKER, "ray-worker", *five)), shell)
    assert [argv[0] for argv in ran] == ["python3", "ray"]
    assert ran[0][3:] == (five[1], five[2], five[0])
    assert ran[1][:6] == ("ray", "start", "--block", "--address", five[3], "--node-ip-address")
    assert ran[1][6] == five[4]


@many
@given(st.lists(words, max_size=3), shells)
def test_folders_for_everybody_are_arguments(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], shell: str
) -> None:
    made = _kept(tmp_path_factory)
    argv = launch.open_folders([f"$HOME/{path}" for path in paths])
    folders = tuple(f"{made.home}/{path}" for path in paths)
    assert made.run(join(argv), shell) == [("mkdir", "-p", "--", *folders), ("chmod", "a+rwx", "--", *folders)]


file_names = st.from_regex(FILE_NAME, fullmatch=True) | words.map(
    lambda text: text.replace("/", "_").replace("\\", "")[:60]
)


@settings(many, max_examples=COUNT // 3)
@given(st.lists(file_names, min_size=1, max_size=3, unique=True), st.lists(words, max_size=3), shells)
def test_mods_run_whatever_their_folders_are_called(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], arguments: list[str], shell: str
) -> None:
    made = _kept(tmp_path_factory)
    base = made.home / "mods"
    shutil.rmtree(base, ignore_errors=True)
    folders = [base / f"{at}-{name}" for at, name in enumerate(names)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "run.sh").write_text("#!/bin/sh\nexit 0\n")
        (folder / "run.sh").chmod(0o755)
    argv = scripts.run(scripts.MODS, "mods", *map(str, folders), scripts.END, "prog", *arguments)
    made.log.write_bytes(b"")
    env = {"PATH": str(made.path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [shutil.which(shell) or shell, *argv[1:]], capture_output=True, cwd=made.canary, env=env, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode() == "".join(f"sparkkeep-mods: {folder}\n" for folder in folders)
    assert made.called() == [*(("touch", f"{folder}.done") for folder in folders), ("prog", *arguments)]
    assert not list(made.canary.iterdir())


CONTAINER: list[Room] = []


def _kept(factory: pytest.TempPathFactory) -> Room:
    """One container's room for all examples."""
    if not CONTAINER or not CONTAINER[0].path.exists():
        CONTAINER[:] = [inside(factory.mktemp("inside"))]
    return CONTAINER[0]


# Sink: what lies on a disk, and where

TOOLS = ("find", "stat", "head", "base64", "tr", "cat", "grep", "uniq", "sort", "date", "dirname", "timeout", "sh")
NONCE = "feedfacefeedfacefeedfacefeedface"
disk_names = words.map(lambda text: text.replace("/", "_")[:60]).filter(lambda name: name not in {"", ".", ".."})


def looked(made: Room, places: Sequence[Place], shell: str) -> Any:
    """A survey of these places, by a shell that has the tools it needs and no other."""
    done = subprocess.run(
        [shutil.which(shell) or shell],
        input=guarded(survey_script(NONCE, places)).encode(),
        capture_output=True,
        cwd=made.canary,
        env={"PATH": str(made.path), "HOME": str(made.home)},
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert not list(made.canary.iterdir())
    return read(done.stdout.decode(errors="replace"), NONCE, tuple(places), taken_at=1.0)


def tooled(base: Path) -> Room:
    made = Room.of(base, ())
    for tool in TOOLS:
        (made.path / tool).symlink_to(shutil.which(tool) or f"/usr/bin/{tool}")
    return made


@settings(many, max_examples=max(12, COUNT // 25))
@given(st.lists(disk_names, min_size=25, max_size=25, unique=True), shells)
def test_file_names_on_a_disk_are_names(tmp_path_factory: pytest.TempPathFactory, names: list[str], shell: str) -> None:
    """25 in each example: models, revisions, files, references and GGUF files of these names."""
    made = tooled(tmp_path_factory.mktemp("disk"))
    hub, ggufs = made.home / "hub", made.home / "ggufs"
    for at, name in enumerate(names):
        model = hub / (f"models--{name}" if at % 3 else f"models--o--n{at}")
        snapshot = model / "snapshots" / ("a" * 40 if at % 2 else name)
        snapshot.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_bytes(b"12345")
        (model / "refs").mkdir(exist_ok=True)
        (model / "refs" / name).write_text("a" * 40)
        (ggufs / name).mkdir(parents=True)
        (ggufs / name / f"{name[:40]}.gguf").write_bytes(b"1234567")
    before = sorted(str(path) for path in made.home.rglob("*"))
    survey = looked(made, (Place(Layout.HUB, str(hub)), Place(Layout.GGUF, str(ggufs))), shell)
    assert sorted(str(path) for path in made.home.rglob("*")) == before
    for model in survey.models:
        for revision in model.revisions:
            for file in revision.files:
                path = Path(model.path) / "snapshots" / revision.commit / file.name
                assert path.stat().st_size == file.size
    for gguf in survey.ggufs:
        assert Path(gguf.path).stat().st_size == gguf.size
    shutil.rmtree(made.home.parent)


@settings(many, max_examples=COUNT // 5)
@given(st.lists(words, min_size=1, max_size=3), shells)
def test_the_places_of_a_survey_are_arguments(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], shell: str
) -> None:
    if not DISK or not DISK[0].path.exists():
        DISK[:] = [tooled(tmp_path_factory.mktemp("places"))]
    places = [Place(Layout.GGUF, home_path(f"$HOME/{path}")) for path in paths]
    places += [Place(Layout.HUB, f"/nonexistent/{path}") for path in paths]
    survey = looked(DISK[0], places, shell)
    assert (survey.models, survey.ggufs) == ((), ())


DISK: list[Room] = []


# Sink: the question for an engine's flags


@many
@given(hostile)
def test_only_an_image_id_is_asked(image: str) -> None:
    with pytest.raises(ValueError, match="is not an image id"):
        questions("vllm", image)
    with pytest.raises(ValueError, match="is not an image id"):
        questions("vllm", f"sha256:{'a' * 64}{image or ' '}")


def test_the_question_is_its_argv(room: Room) -> None:
    for shell in SHELLS:
        for question in questions("vllm", f"sha256:{'a' * 64}"):
            assert room.run(join(question), shell) == [question]


# Sink: the API


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as made:
        await made.settled()
        yield made


def asked(count: int, strategy: st.SearchStrategy[str]) -> list[str]:
    """Examples as a list, for a test that can't be a Hypothesis test since it is asynchronous."""
    found: list[str] = []

    @settings(many, max_examples=count)
    @given(strategy)
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return found


ROUTES = (
    ("GET", "/api/workloads/{}/logs"), ("GET", "/api/workloads/{}/why"), ("POST", "/api/workloads/{}/restart"),
    ("POST", "/api/workloads/{}/reset-backoff"), ("POST", "/api/workloads/{}/suspend"), ("POST", "/api/workloads/{}/resume"),
    ("POST", "/api/sparks/{}/cordon"), ("POST", "/api/sparks/{}/uncordon"), ("POST", "/api/sparks/{}/drain"),
    ("POST", "/api/sparks/{}/undrain"), ("GET", "/api/sparks/{}/hostkey"), ("GET", "/api/sparks/{}/connectivity"),
    ("GET", "/api/workloads/echo/logs?tail={}"), ("GET", "/api/workloads/twice/logs?spark={}"),
    ("GET", "/api/sparks/s1/connectivity?limit={}"), ("POST", "/api/plans/{}/apply"), ("GET", "/api/actions?limit={}"),
    ("GET", "/api/actions?before={}"),
)  # fmt: skip


async def test_names_and_numbers_of_requests_reach_no_spark(stage: Stage) -> None:
    app = build_app(stage.context, version="1")
    before = {name: list(spark.ran) for name, spark in stage.sparks.items()}
    texts = [text for text in asked(COUNT, hostile) if "\ud800" not in text and not text.strip().lstrip("+-").isdigit()]
    assert len(texts) > COUNT // 2
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:9999") as client:
        for at, text in enumerate(texts):
            method, route = ROUTES[at % len(ROUTES)]
            answer = await client.request(method, route.format(percent(text, safe="")))
            assert 400 <= answer.status_code < 500 or not text, (route, text, answer.status_code)
            assert "pwned" not in answer.headers.get("location", "")
    assert {name: spark.ran for name, spark in stage.sparks.items()} == before
    assert not (stage.context.loop.overrides().cordoned | stage.context.loop.overrides().suspended)


@pytest.mark.parametrize("tail", [0, 1, 100_000])
async def test_a_tail_is_a_number_in_an_argv(stage: Stage, tail: int) -> None:
    asked_for: list[str] = []
    spark = stage.sparks["s1"]
    stream = spark.stream

    def noted(script: str) -> AsyncIterator[str]:
        asked_for.append(script)
        return stream(script)

    spark.stream = noted  # type: ignore[method-assign]  # what it is asked for is the point
    app = build_app(stage.context, version="1")
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:9999") as client:
        answer = await client.get(f"/api/workloads/echo/logs?tail={tail}")
    assert answer.status_code == 200
    container = spark.containers["sparkkeep-echo"].id
    assert asked_for == [join(launch.logs(container, tail=tail))]
