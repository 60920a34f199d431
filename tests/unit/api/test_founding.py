"""The text of a first desired.yaml."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from api.doctor import Examined
from api.founding import Found, comment, document, found_of, ours, strangers
from reconciler.doctor.verdict import judge
from reconciler.facts import Section
from reconciler.importers.live import masked
from state.desired import Spark
from state.load import load_text
from tests.unit.reconciler.doctor.cases import MISSING, case

SECRET = "hf_" + "x9" * 17


def container(name: str, **more: Any) -> dict[str, Any]:
    """As `docker inspect` prints a small server on the host's network."""
    config = {"Image": "org/server:1", "Cmd": ["serve", "--port", "8321"], "Env": [f"HF_TOKEN={SECRET}", "A=b"]}
    config |= more.pop("Config", {})
    return {
        "Id": f"id-{name}",
        "Name": f"/{name}",
        "Image": "sha256:feed",
        "State": {"Running": True},
        "Config": config,
        "HostConfig": {"NetworkMode": "host", "RestartPolicy": {"Name": "always"}},
        "Mounts": [],
        **more,
    }


def examined(
    *containers: dict[str, Any], name: str = "spark-1", host: str = "192.168.1.11", **changed: Any
) -> Examined:
    given = replace(
        case(containers=json.dumps(containers), **changed), name=name, spark=Spark(host=host, user="nvidia")
    )
    return Examined(case=given, findings=judge(given))


def found(spark: Examined) -> list[Found]:
    return [found_of(spark.case.name, each, masked(json.dumps([each]))) for each in strangers(spark)]


def test_sparks_alone() -> None:
    text = document([examined(), examined(name="spark-2", host="box")], [], None, [])
    loaded = load_text(text, "desired.yaml")
    assert {name: (s.host, s.user) for name, s in loaded.desired.sparks.items()} == {
        "spark-1": ("192.168.1.11", "nvidia"),
        "spark-2": ("box", "nvidia"),
    }
    assert "  # NVIDIA GB10; Docker 28.3.3; 112.5 GiB of 121.7 GiB is available\n" in text
    assert "#models:" in text


def test_a_spark_that_is_not_fit_says_so() -> None:
    text = document([examined(dockercli=MISSING, elsewhere="", dockerinfo=MISSING)], [], None, [])
    assert "  # not fit yet: docker; `sparkkeep doctor spark-1` says what mends it\n" in text


def test_the_example_in_a_comment_is_right() -> None:
    """Who takes the marks away has a valid desired state."""
    text = document([examined()], [], None, [])
    head, _, example = text.partition("#models:")
    plain = re.sub(r"^#", "", f"#models:{example}", flags=re.MULTILINE)
    loaded = load_text(head + plain, "x", [Path(__file__).parents[3] / "models.yaml"])
    assert list(loaded.resolved) == ["qwen3-8b"]


def test_what_runs_is_declared_and_never_started() -> None:
    spark = examined(container("Whisper_1"))
    text = document([spark], found(spark), None, [])
    loaded = load_text(text, "desired.yaml")
    workload = loaded.desired.services["whisper-1"]
    assert (workload.run, workload.on) == ("never", ["spark-1"])
    recipe = loaded.resolved["whisper-1"].recipe
    assert (recipe.image, recipe.command, recipe.port) == ("org/server:1", ["serve", "--port", "8321"], 8321)
    assert SECRET not in text
    assert "    # on spark-1: docker stop Whisper_1 && docker rm Whisper_1\n" in text
    assert "    # here: sparkkeep run whisper-1\n" in text
    assert re.search(r"^    # here: sparkkeep secret set \S+$", text, re.MULTILINE)


def test_a_gpu_makes_it_a_model() -> None:
    host = {"NetworkMode": "host", "DeviceRequests": [{"Capabilities": [["gpu"]]}]}
    spark = examined(container("qwen", HostConfig=host))
    assert list(load_text(document([spark], found(spark), None, []), "x").desired.models) == ["qwen"]


def test_the_same_name_on_two_sparks_is_told_apart() -> None:
    one, two = examined(container("web")), examined(container("web"), name="spark-2", host="b")
    loaded = load_text(document([one, two], [*found(one), *found(two)], None, []), "x")
    assert {name: w.on for name, w in loaded.desired.services.items()} == {
        "web": ["spark-1"],
        "web-spark-2": ["spark-2"],
    }


def test_what_is_no_service_or_anothers_is_only_named() -> None:
    quiet = container("cron", Config={"Cmd": ["sleep", "inf"]}, HostConfig={"NetworkMode": "none"})
    spark = examined(quiet, container("sparkrun_7_solo"), container("gone", State={"Running": False}))
    text = document([spark], found(spark), None, [])
    assert load_text(text, "x").desired.workloads == {}
    assert "\n# spark-1: cron: it uses no GPU and no port" in text
    assert "\n# spark-1: sparkrun_7_solo: another manager" in text
    assert "gone" not in text


def test_what_the_schema_refuses_becomes_a_comment() -> None:
    odd = container("odd", Config={"Image": ""})
    spark = examined(odd, container("good"))
    text = document([spark], found(spark), None, [])
    assert list(load_text(text, "x").desired.workloads) == ["good"]
    assert "# spark-1: odd: it can't be declared as it is: " in text


def test_containers_of_our_owner_are_seen_whether_they_run_or_not() -> None:
    mine = container("sparkkeep-web", Config={"Labels": {"sparkkeep.owner": "sparkkeep"}}, State={"Running": False})
    spark = examined(mine)
    assert ours(spark, "sparkkeep") == ["sparkkeep-web"]
    assert ours(spark, "other") == []
    assert strangers(spark) == []


def test_an_owner_of_its_own_stands_in_the_settings() -> None:
    assert load_text(document([examined()], [], "second", []), "x").desired.settings.owner == "second"


def test_an_answer_that_was_lost_gives_sparks_without_workloads() -> None:
    spark = examined()
    lost = replace(spark, case=replace(spark.case, told={"containers": Section("", 1)}))
    assert strangers(lost) == ours(lost, "sparkkeep") == []


@given(st.text(max_size=400))
def test_whatever_a_comment_says_it_stays_one(text: str) -> None:
    line = comment(text, deep=2)
    assert yaml.safe_load(f"a: 1\n{line}\nb: 2\n") == {"a": 1, "b": 2}


NAME = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,80}", fullmatch=True)


@given(st.lists(st.builds(container, NAME, Config=st.fixed_dictionaries({"Cmd": st.lists(st.text(max_size=20), max_size=4)}),
                          HostConfig=st.sampled_from([{"NetworkMode": "host", "Runtime": "nvidia"}])), max_size=4))  # fmt: skip
def test_whatever_runs_there_the_text_is_valid(containers: list[dict[str, Any]]) -> None:
    spark = examined(*containers)
    text = document([spark], found(spark), None, [])
    assert all(w.run == "never" for w in load_text(text, "desired.yaml").desired.workloads.values())
