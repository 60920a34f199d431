"""What `docker inspect` says leaves a Spark without its secrets, and still makes the recipe that it should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.importers.inspected import read_inspected
from reconciler.importers.live import inspect_container, inspect_image, masked
from reconciler.importers.masks import MASKED

IMAGE = {
    "Id": "sha256:feed",
    "RootFS": {"Layers": ["a"]},
    "Config": {"Env": ["PATH=/bin", "API_KEY=baked-in", "MODE=slow"], "Entrypoint": ["/run"], "Labels": {"x": "y"}},
}


def found(*, env: list[str], cmd: list[str] | None = None, labels: dict[str, str] | None = None) -> str:
    config = {"Image": "org/whisper:1", "Env": env, "Cmd": cmd or ["serve"], "Entrypoint": ["/run"]}
    host = {"NetworkMode": "host", "RestartPolicy": {"Name": "always"}}
    more = {"Config": config | {"Labels": labels or {}}, "HostConfig": host, "Args": cmd or ["serve"]}
    return json.dumps([{"Id": "1f", "Name": "/whisper", "Image": "sha256:feed", "State": {}, **more}])


def test_the_commands_only_look() -> None:
    assert inspect_container("1f") == ("docker", "inspect", "--type", "container", "1f")
    assert inspect_image("sha256:1f") == ("docker", "inspect", "--type", "image", "sha256:1f")


def test_secrets_become_names_and_the_images_own_stays_with_the_image() -> None:
    env = ["PATH=/bin", "API_KEY=mine", "MODE=fast", "OTHER=hf_abcdefghijkl", "HF_TOKEN="]
    told = masked(found(env=env, labels={"note": "pass=word", "com.docker.compose.project": "speech"}),
                  json.dumps([IMAGE]))  # fmt: skip
    (imported,) = read_inspected(json.dumps(told), "s1").imported
    assert imported.recipe["env"] == {
        "API_KEY": {"secret": "api-key"},
        "MODE": "fast",
        "OTHER": {"secret": "other"},
        "HF_TOKEN": "",
    }
    assert imported.recipe["source"] == "adopted from the compose project speech"
    assert "entrypoint" not in imported.recipe, "it is the image's own"
    assert not {"mine", "baked-in", "hf_abcdefghijkl", "pass=word"} & set(json.dumps(told).replace('"', " ").split())
    assert "baked-in" not in json.dumps(told)


def test_what_the_image_brings_is_the_containers_own_where_it_is_a_secret() -> None:
    told = masked(found(env=["API_KEY=baked-in", "MODE=slow"]), json.dumps([IMAGE]))
    (imported,) = read_inspected(json.dumps(told), "s1").imported
    assert imported.recipe["env"] == {"API_KEY": {"secret": "api-key"}}


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--api-key", "abc", "--port", "9000"], ["--api-key", MASKED, "--port", "9000"]),
        (["--api-key=abc", "--verbose"], [f"--api-key={MASKED}", "--verbose"]),
        (["-e", "HF_TOKEN=abc"], ["-e", f"HF_TOKEN={MASKED}"]),
        (["run", "nvapi-0123456789"], ["run", MASKED]),
        (["--api-key", "--verbose"], ["--api-key", "--verbose"]),
        (["--api-key", "one", "two", "--port", "1"], ["--api-key", MASKED, MASKED, "--port", "1"]),
        (["--env=HF_TOKEN=abc", "--env=A=b"], [f"--env=HF_TOKEN={MASKED}", "--env=A=b"]),
        (["--header", "Authorization: Bearer abc"], ["--header", MASKED]),
        (["--db=postgres://me:abc@host/db"], [f"--db={MASKED}"]),
        (['{"api_key": "abc", "n": 1}'], [f'{{"api_key": "{MASKED}", "n": 1}}']),
        (["-c", "serve --api-key abc && x 'a b'"], ["-c", f"serve --api-key {MASKED} && x 'a b'"]),
        (["-c", "sh -c 'serve --api-key abc --port 1'"], ["-c", f"sh -c 'serve --api-key {MASKED} --port 1'"]),
        (["-c", "curl http://me:abc@host"], ["-c", f"curl {MASKED}"]),
        (
            ["--url", "http://host:8000/v1", "a=b=c", "don't  stop"],
            ["--url", "http://host:8000/v1", "a=b=c", "don't  stop"],
        ),
        (["--max-tokens", "12", "--tokenizer=x"], ["--max-tokens", "12", "--tokenizer=x"]),
    ],
)
def test_arguments_are_masked_too(words: list[str], left: list[str]) -> None:
    (told,) = masked(found(env=[], cmd=words))
    assert told["Config"]["Cmd"] == told["Args"] == left


@pytest.mark.parametrize(
    "entry",
    [
        "MYSQL_PWD=abc",
        "OPENAI_KEY=abc",
        "HFTOKEN=abc",
        "SECRET_KEY_BASE=abc",
        "https_proxy=http://me:abc@proxy:3128",
        "AUTH=Bearer abc",
        "ARGS=serve --api-key abc",
        'CONFIG={"password":"abc"}',
    ],
)
def test_a_variable_that_holds_a_secret_is_masked_whole(entry: str) -> None:
    (told,) = masked(found(env=[entry]))
    assert told["Config"]["Env"] == [f"{entry.partition('=')[0]}={MASKED}"]


@pytest.mark.parametrize(
    "entry",
    ["PWD=/app", "MAX_TOKENS=4", "TOKENIZERS_PARALLELISM=false", "HF_ENDPOINT=https://hub:8080/x@y", "GREETING=a b"],
)
def test_other_variables_stay(entry: str) -> None:
    (told,) = masked(found(env=[entry]))
    assert told["Config"]["Env"] == [entry]


def test_logs_of_health_checks_and_options_of_drivers_stay_on_the_spark() -> None:
    (inspected,) = json.loads(found(env=[]))
    inspected["State"] = {"Error": "abc", "Health": {"Log": [{"Output": "abc"}]}}
    inspected["HostConfig"] |= {
        "LogConfig": {"Type": "splunk", "Config": {"splunk-token": "abc"}},
        "Mounts": [{"VolumeOptions": {"DriverConfig": {"Options": {"o": "password=abc"}}}}],
        "Annotations": {"note": "abc"},
    }
    image = {**IMAGE, "Config": {"Healthcheck": {"Test": ["CMD-SHELL", "curl -u me:abc localhost"]}}}
    told = masked(json.dumps([inspected]), json.dumps([image]))
    assert "abc" not in json.dumps(told)
    lost = {note.key for note in read_inspected(json.dumps(told), "s1").lost}
    assert "HostConfig.LogConfig" in lost, "it is told that something was set"


@pytest.mark.parametrize("key", ["Cmd", "Entrypoint"])
def test_a_secret_among_the_arguments_is_told_and_not_copied(key: str) -> None:
    (inspected,) = json.loads(found(env=[]))
    inspected["Config"][key] = ["/run", "--api-key", "abc"]
    outcome = read_inspected(json.dumps([inspected]), "s1")
    field = {"Cmd": "command", "Entrypoint": "entrypoint"}[key]
    assert outcome.imported[0].recipe[field] == ["/run", "--api-key", MASKED]
    (told,) = (note for note in outcome.lost if note.key == f"Config.{key}")
    assert "give the program that one by a variable instead" in told.message


@pytest.mark.parametrize("text", ["", "{}", "[1]", "not JSON"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        masked(text)


NAMES = st.sampled_from(["HF_TOKEN", "OPENAI_API_KEY", "DB_PASSWORD", "my_secret", "PASSWD"])
VALUES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=12, max_size=40)


@given(NAMES, VALUES)
def test_no_value_of_a_secret_is_left_anywhere(name: str, value: str) -> None:
    image: dict[str, Any] = {**IMAGE, "Config": {"Env": [f"{name}={value}"], "Cmd": [f"{name}={value}"]}}
    words = [f"--{name.lower().replace('_', '-')}", value]
    told = json.dumps(masked(found(env=[f"{name}={value}"], cmd=words, labels={"l": value}), json.dumps([image])))
    assert value not in told
