"""Which Sparks doctor looks at, and what it takes to be wanted of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli import main
from api.doctor import named, spark_at
from api.folder import Unusable
from reconciler.doctor.case import Wanted

DESIRED = """
sparks:
  spark-1: {host: 192.168.1.11, user: nvidia, reserve: 9GiB}
  spark-2: {host: 192.168.1.12}
models:
  both: {recipe: {engine: vllm, model: org/m, image: 'img:1', memory: 1GiB}, across: [spark-1, spark-2]}
  off: {recipe: {engine: vllm, model: org/m, image: 'img:1', memory: 1GiB, port: 8009}, on: spark-1, run: never}
services:
  web:
    recipe: {image: 'img:1', port: 8123, memory: 1GiB, probe: none}
    on: [spark-1, spark-2]
settings: {owner: us, diskReserve: 3GiB}
"""


@pytest.fixture
def desired(tmp_path: Path) -> Path:
    path = tmp_path / "desired.yaml"
    path.write_text(DESIRED)
    return path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nvidia@192.168.1.11", ("nvidia", "192.168.1.11", None)),
        ("nvidia@box:2222", ("nvidia", "box", 2222)),
        ("box.lan", (None, "box.lan", None)),
        (" me@[fe80::1]:22 ", ("me", "[fe80::1]", 22)),
    ],
)
def test_an_address(text: str, found: tuple[str | None, str, int | None]) -> None:
    spark = spark_at(text)
    assert (spark.user, spark.host, spark.port) == found


@pytest.mark.parametrize(
    "text", ["", "@", "a b@c", "me@box:0", "me@box:99999", "me@", "-oProxyCommand=x@y z", "me@-x", "a;b@c"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Unusable, match="is no address"):
        spark_at(text)


def test_all_that_are_declared_with_what_is_wanted_of_each(desired: Path) -> None:
    first, second = named([], desired, {})
    assert [first[0], second[0]] == ["spark-1", "spark-2"]
    assert first[2] == Wanted(
        ports={8000: "both", 8123: "web"}, groups=("both",), owner="us", reserve=9 * 2**30, disk_reserve=3 * 2**30
    )
    assert second[2].ports == {8123: "web"}, "the other ranks of a group listen nowhere"
    assert second[2].groups == ("both",)


def test_one_that_is_not_declared_is_its_address(desired: Path) -> None:
    ((name, spark, wanted),) = named(["me@10.0.0.9"], desired, {})
    assert (name, spark.host, spark.user, wanted) == ("me@10.0.0.9", "10.0.0.9", "me", Wanted())


def test_a_name_that_is_not_there_is_refused_with_those_that_are(desired: Path, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"no Spark is called spark-9 in .* \(there are: spark-1, spark-2\)"):
        named(["spark-9"], desired, {})
    with pytest.raises(Unusable, match=r"there are: none"):
        named(["spark-9"], tmp_path / "none.yaml", {})


def test_the_sparks_of_the_environment_count(tmp_path: Path) -> None:
    (tmp_path / "desired.yaml").write_text("{}\n")
    found = named([], tmp_path / "desired.yaml", {"SPARK1_HOST": "10.0.0.1", "SPARK1_USER": "me"})
    assert [(each[0], each[1].host) for each in found] == [("spark-1", "10.0.0.1")]


def test_without_a_desired_state_it_says_where_to_begin(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "desired.yaml").write_text("{}\n")
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    assert "begin with `sparkkeep init`" in capsys.readouterr().err


def test_an_invalid_desired_state_is_told_as_such(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "desired.yaml").write_text("sparks: {spark-1: {hots: x}}\n")
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    assert "desired.yaml:1:" in capsys.readouterr().err


def test_a_spark_that_is_away_is_told_in_json_too(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 1 of loopback: nothing listens there."""
    monkeypatch.setenv("SSH_DIR", str(tmp_path))
    monkeypatch.setenv("SPARKKEEP_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "me@127.0.0.1:1", "-o", "json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert not told["healthy"]
    by = {each["check"]: each for each in told["sparks"]["me@127.0.0.1:1"]["findings"]}
    assert by["port"]["verdict"] == "fail"
    assert by["port"]["fix"] == {"where": "spark", "commands": ["sudo systemctl enable --now ssh"]}
    assert by["login"]["verdict"] == "unknown"
    assert not (tmp_path / "data").exists()
