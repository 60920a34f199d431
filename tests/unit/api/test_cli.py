"""The command line against a real server: what it prints, and how it exits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from api.cli import main
from reconciler.model import Container
from tests.unit.api.conftest import DESIRED, Stage

OTHER_IMAGE = DESIRED.replace("echo: {recipe: {image: 'keep/echo:1'", "echo: {recipe: {image: 'keep/echo:2'")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run it in this process: exit status, standard output, standard error."""
    for name in ("SPARKKEEP_DESIRED", "SPARKKEEP_DATA", "SPARK1_HOST", "SPARK2_HOST", "MODELS_YAML"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def there(served: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("SPARKKEEP_SERVER", served.url)
    return served


def test_without_a_server_there_is_one_sentence(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKKEEP_SERVER", "http://127.0.0.1:1")
    for verb in (("get",), ("plan",), ("events",), ("apply", "--yes"), ("logs", "x"), ("why", "x"), ("cordon", "x")):
        code, out, err = cli(*verb)
        assert (code, out) == (1, "")
        assert err.startswith("no sparkkeep answers at http://127.0.0.1:1: start one with `sparkkeep serve`")
        assert len(err.splitlines()) == 1


def test_plan_exits_with_0_2_and_1(cli, there: Stage, tmp_path: Path) -> None:
    assert cli("plan")[:2] == (0, "Nothing to do. The Sparks are as declared.\n")
    new = tmp_path / "new.yaml"
    new.write_text(OTHER_IMAGE)
    code, out, _ = cli("plan", "--file", str(new))
    assert code == 2
    assert "  1. - stop echo: changed: image" in out
    assert "  3. + create echo: changed: image" in out
    assert "$ docker stop" in out
    assert out.rstrip().endswith("Plan: 0 to create, 1 to recreate, 0 to remove.")
    new.write_text("services: {a: {recipe: nope}}\n")
    code, out, err = cli("plan", "--file", str(new))
    assert (code, out) == (1, "")
    assert f"{new}:1:" in err
    assert cli("plan", "--file", str(tmp_path / "none.yaml"))[0] == 1
    assert cli("plan", "--no-such-flag")[0] == 1, "2 would mean changes"


def test_plan_for_programs_and_with_whole_commands(cli, there: Stage, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(OTHER_IMAGE)
    code, out, _ = cli("plan", "--file", str(new), "-o", "json")
    assert code == 2
    assert [step["verb"] for step in json.loads(out)["steps"]] == ["stop", "remove", "create"]
    assert yaml.safe_load(cli("plan", "-o", "yaml")[1])["steps"] == []
    cut, whole = cli("plan", "--file", str(new))[1], cli("plan", "--file", str(new), "--commands")[1]
    assert "…" in cut
    assert "keep/echo:2\n" in whole


def test_get_in_three_forms(cli, there: Stage) -> None:
    code, out, _ = cli("get")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[:3]] == [
        ["WORKLOAD", "KIND", "RUN"],
        ["echo", "service", "always"],
        ["twice", "service", "always"],
    ]
    assert "\x1b" not in out, "no colour in a pipe"
    assert not any(line.endswith(" ") for line in out.splitlines())
    assert "SPARK" not in cli("get", "workloads")[1].splitlines()[-1]
    assert json.loads(cli("get", "echo", "-o", "json")[1])["echo"]["sync"] == "Synced"
    assert set(yaml.safe_load(cli("get", "sparks", "-o", "yaml")[1])) == {"s1", "s2"}
    code, _, err = cli("get", "ecko")
    assert (code, err.splitlines()[0]) == (1, "no workload or spark is named ecko; did you mean echo?")


def test_describe_why_logs_events_actions(cli, there: Stage) -> None:
    assert "10.0.0.1" in cli("describe", "s1")[1]
    assert "sparkkeep-echo" in cli("describe", "echo")[1]
    assert json.loads(cli("describe", "echo", "-o", "json")[1])["name"] == "echo"
    assert "echo is declared on s1." in cli("why", "echo")[1]
    assert cli("logs", "echo")[1] == "one\ntwo\nthree\n"
    code, out, _ = cli("events", "--workload", "echo")
    assert (code, out.splitlines()[0].split()) == (0, ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"])
    assert "workload/echo on s1" in out
    assert json.loads(cli("events", "-o", "json")[1])["latestSeq"] > 0
    assert "create" in cli("actions")[1]
    code, _, err = cli("why", "ecko")
    assert (code, err) == (1, "no workload is named `ecko`; did you mean `echo`?\nthere are: echo, twice\n")


def test_a_running_container_is_imported_from_the_server(cli, there: Stage) -> None:
    spark = there.sparks["s1"]
    stranger = Container(id="f" * 64, name="whisper", image="org/whisper:1", state="running")
    spark.containers["whisper"] = stranger
    config = {"Image": "org/whisper:1", "Env": ["HF_TOKEN=hf_abcdefghijkl"], "Cmd": ["serve", "--port", "9000"]}
    found = {"Id": stranger.id, "Name": "/whisper", "Config": config, "HostConfig": {"NetworkMode": "host"}}
    spark.inspected[stranger.id] = json.dumps([found])

    async def look() -> None:
        there.context.loop.wake_all()
        while not there.context.status.build()["sparks"]["s1"]["foreign"]:
            await asyncio.sleep(0.01)

    there.call(look())
    code, out, err = cli("import", "containers", "s1", "--in-place")
    assert code == 0, err
    made = yaml.safe_load(out)["services"]["whisper"]
    assert (made["on"], made["recipe"]["env"]) == ("s1", {"HF_TOKEN": {"secret": "hf-token"}})
    assert "`docker stop whisper && docker rm whisper`" in err
    assert "hf_abcdefghijkl" not in out + err
    assert list(spark.containers)[-1] == "whisper", "nothing was done to it"
    assert cli("import", "containers", "s2")[0] == 1
    assert cli("import", "containers", "s1", "whispr")[0] == 1


def test_verbs(cli, there: Stage) -> None:
    for verb, name in [("suspend", "echo"), ("resume", "echo"), ("restart", "echo"), ("reset-backoff", "echo")]:
        assert cli(verb, name)[0] == 0
    for verb in ("cordon", "uncordon", "drain", "undrain"):
        assert cli(verb, "s2")[0] == 0
    assert cli("uncordon", "s9")[0] == 1
    cli("drain", "s2")
    code, _, err = cli("uncordon", "s2")
    assert (code, err) == (1, "s2 is still cordoned, by the desired state or by a drain\n")


def test_trust_needs_a_person_or_a_fingerprint(cli, there: Stage) -> None:
    code, _, err = cli("trust", "s1")
    assert code == 1
    assert "s1 shows the host key SHA256:first" in err
    assert "--fingerprint" in err
    assert not there.keys.trusted
    assert cli("trust", "s1", "--fingerprint", "SHA256:other")[0] == 1
    assert not there.keys.trusted
    assert cli("trust", "s1", "--fingerprint", "SHA256:first")[0] == 0
    assert cli("trust", "s1", "--yes")[0] == 0
    assert len(there.keys.trusted) == 2


def test_a_changed_key_is_not_taken_unseen(cli, there: Stage) -> None:
    spark = there.sparks["s1"]
    spark.reason, spark.down = "HostKeyChanged", "s1 shows another host key than before"
    cli("reset-backoff", "echo")  # looks at every Spark
    while json.loads(cli("get", "s1", "-o", "json")[1])["s1"]["reachable"]:
        pass
    code, _, err = cli("trust", "s1", "--yes")
    assert (code, there.keys.trusted) == (1, [])
    assert "Take care: s1 shows another host key than before" in err
    assert cli("trust", "s1", "--fingerprint", "SHA256:first")[0] == 0


def test_apply_asks_and_waits_for_the_end(cli, there: Stage) -> None:
    assert cli("apply")[0] == 0, "nothing to ask about"
    there.call(there.rewrite(OTHER_IMAGE + "guards: {maxDestructive: 0}\n"))
    code, out, err = cli("apply")
    assert (code, "nobody is there to ask: use --yes" in err) == (1, True)
    assert "4 steps" not in out
    assert "withheld until you approve" in out
    assert there.sparks["s1"].containers["sparkkeep-echo"].image == "keep/echo:1"
    code, _, err = cli("apply", "--yes")
    assert (code, err.splitlines()[-1]) == (0, "Everything is as declared.")
    assert "PlanApproved" in err
    assert there.sparks["s1"].containers["sparkkeep-echo"].image == "keep/echo:2"


def test_apply_says_what_holds_the_rest(cli, there: Stage) -> None:
    there.sparks["s2"].down = "s2 is off"
    there.call(there.rewrite(DESIRED.replace("port: 8001", "port: 8002")))
    code, _, err = cli("apply", "--yes", "--timeout", "15")
    assert code == 1
    assert err.splitlines()[-2:] == ["Not everything is as declared:", "  twice: Unknown: s2: s2 is off"]


def test_validate(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("validate")[:2] == (1, "desired.yaml: can't be read: there is no such file\n")
    Path("desired.yaml").write_text(DESIRED)
    code, out, err = cli("validate")
    assert (code, out) == (0, "")
    assert err.startswith("valid: 2 Sparks, 0 models, 2 services (sha256:")
    Path("bad.yaml").write_text("services:\n  a: {recipe: {image: i}, on: s9, prot: 1}\n  b: {recipe: nope}\n")
    code, out, err = cli("validate", "bad.yaml")
    assert code == 1
    lines = out.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith(("bad.yaml:2:", "bad.yaml:3:")) for line in lines)
    assert err == f"{len(lines)} problems\n"
    found = json.loads(cli("validate", "bad.yaml", "-o", "json")[1])
    assert (found["valid"], len(found["problems"])) == (False, len(lines))
    both = cli("validate", "desired.yaml", "desired.yaml")
    assert both[0] == 1
    recipe = "{engine: vllm, model: org/m, image: i, flags: {max-modle-len: 4096}}"
    Path("doubtful.yaml").write_text(f"sparks: {{s1: {{host: h}}}}\nmodels: {{m: {{recipe: {recipe}, on: s1}}}}\n")
    code, out, err = cli("validate", "doubtful.yaml")
    assert (code, out.startswith("warning: m: `max-modle-len`: vLLM "), "`max-model-len`" in out) == (0, True, True)
    assert err.startswith("valid: 1 Sparks, 1 models")
    assert json.loads(cli("validate", "doubtful.yaml", "-o", "json")[1])["warnings"]["m"] == [
        out.removeprefix("warning: m: ").rstrip("\n")
    ]


def test_the_sparks_of_the_environment_count(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK1_HOST", "10.0.0.1")
    monkeypatch.setenv("SPARK1_USER", "nvidia")
    path = tmp_path / "d.yaml"
    path.write_text("services: {a: {recipe: {image: i}, on: spark-1}}\n")
    assert cli("validate", str(path))[0] == 0
    assert cli("validate", str(path), "-o", "yaml")[1].splitlines()[-5:-3] == ["sparks:", "- spark-1"]
    path.write_text("sparks: {other: {host: h}}\nservices: {a: {recipe: {image: i}, on: spark-1}}\n")
    assert cli("validate", str(path))[0] == 1, "a desired state with Sparks of its own has those only"


def test_version_and_help(cli) -> None:
    assert cli("version")[1].startswith("sparkkeep ")
    code, out, _ = cli("plan", "--help")
    assert code == 0
    assert "Exit status: 0 nothing to do, 2 there are changes, 1 an error" in out
