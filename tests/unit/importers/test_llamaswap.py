"""llama-swap's configs, written here for the purpose."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.importers.accounts import Fate, Outcome
from reconciler.importers.docker_run import _TAKERS
from reconciler.importers.llamaswap import read_config
from state.problems import Invalid
from state.recipes import Recipe

IMAGE = "ghcr.io/org/llama:1"


def read(data: dict[str, Any], image: str | None = IMAGE) -> Outcome:
    outcome = read_config(yaml.safe_dump(data, sort_keys=False), "config.yaml", image=image)
    for each in outcome.imported:
        Recipe.model_validate(each.recipe)
    return outcome


def model(settings: dict[str, Any], **more: Any) -> Outcome:
    return read({"models": {"m": settings}, **more})


def test_a_program_of_the_host_with_macros() -> None:
    data = {
        "healthCheckTimeout": 90,
        "startPort": 7000,
        "globalTTL": 600,
        "logLevel": "info",
        "macros": {"server": "/opt/llama-server --port ${PORT}", "ctx": 4096},
        "models": {
            "Qwen/Coder:Q4": {
                "macros": {"ctx": 8192},
                "name": "Coder",
                "cmd": "# the server\n${server} \\\n  -hf org/coder:Q4_K_M --ctx-size ${ctx} -ngl 99\n  --jinja",
                "aliases": ["gpt-4o", "bad alias"],
                "env": ["A=b", "KEY_TOKEN=secret-value"],
                "ttl": 60,
                "concurrencyLimit": 4,
                "filters": {"stripParams": "top_k"},
            },
            "a-first": {"cmd": "${server} -hf org/other:Q8_0", "checkEndpoint": "none", "ttl": -1},
        },
    }
    outcome = read(data)
    first, second = outcome.imported
    assert first.name == "qwen-coder-q4"
    assert first.recipe == {
        "engine": "llamacpp",
        "description": "Coder",
        "model": "org/coder",
        "quant": "Q4_K_M",
        "image": IMAGE,
        "flags": {"ctx-size": 8192, "n-gpu-layers": 99, "jinja": True},
        "env": {"A": "b", "KEY_TOKEN": {"secret": "key-token"}},
        "port": 7000,
        "startTimeout": 90,
        "probe": "chat",
    }
    assert first.workload == {"on": "any", "run": "on-demand", "idle": "60s", "aliases": ["Qwen/Coder:Q4", "gpt-4o"]}
    assert (second.name, second.recipe["port"], second.recipe["probe"], second.workload["idle"]) == (
        "a-first",
        7001,
        "none",
        "600s",
    )
    assert "secret-value" not in str(outcome)
    assert [note.key for note in outcome.lost] == [
        "models.Qwen/Coder:Q4.env[1]",
        "models.Qwen/Coder:Q4.concurrencyLimit",
        "models.Qwen/Coder:Q4.filters",
        "models.Qwen/Coder:Q4.cmd: bad alias",
    ]


def test_without_an_image_a_program_of_the_host_is_left_out_and_said() -> None:
    outcome = read({"models": {"m": {"cmd": "llama-server -m /x.gguf", "ttl": 5}}}, image=None)
    assert outcome.imported == ()
    (note,) = outcome.notes
    assert (str(note.fate), note.key) == ("not carried", "models.m")
    assert note.message == (
        "the model is left out: llama-server is a program of the host, and sparkkeep runs containers: say `--image IMAGE`"
    )


def test_files_of_the_host_are_mounted_where_they_are() -> None:
    outcome = model({"cmd": "llama-server -m /data/models/x.gguf --port 9001 --slot-save-path /var/cache/slots"})
    made = outcome.imported[0].recipe
    assert made["engine"] == "container"
    assert made["command"] == [
        "llama-server",
        "-m",
        "/data/models/x.gguf",
        "--port",
        "9001",
        "--slot-save-path",
        "/var/cache/slots",
    ]
    assert {"source": "/data/models", "target": "/data/models", "readOnly": True} in made["mounts"]
    assert [note.key for note in outcome.lost] == ["models.m.cmd: /var/cache/slots"]


def test_docker_run_of_an_engine_becomes_the_engine_on_the_sparks_own_port() -> None:
    command = (
        "docker run --rm -it --gpus all --name ${MODEL_ID} --ipc=host --shm-size 16g -e HF_TOKEN=hf_abcdefghijkl -eA=b "
        "-v ${env.HOME}/.cache/huggingface:/root/.cache/huggingface -p ${PORT}:8000 --ulimit memlock=-1 "
        "vllm/vllm-openai:latest --model org/m --max-model-len 4096 --served-model-name short"
    )
    outcome = model({"cmd": command, "cmdStop": "docker stop ${MODEL_ID}", "proxy": "http://127.0.0.1:${PORT}"})
    (imported,) = outcome.imported
    assert imported.recipe == {
        "engine": "vllm",
        "model": "org/m",
        "image": "vllm/vllm-openai:latest",
        "flags": {"max-model-len": 4096, "served-model-name": "short"},
        "env": {"HF_TOKEN": {"secret": "hf-token"}, "A": "b"},
        "mounts": [{"source": "$HOME/.cache/huggingface", "target": "/root/.cache/huggingface"}],
        "port": 5800,
        "gpus": "all",
        "shm": "16g",
        "network": "host",
        "ipc": "host",
        "ulimits": {"memlock": -1},
        "probe": "chat",
    }
    assert imported.workload["aliases"] == ["short"]
    assert [note.key for note in outcome.lost] == ["models.m.cmd: --env HF_TOKEN"]


def test_docker_run_of_anything_else_keeps_its_ports_and_argv() -> None:
    outcome = model({"cmd": "podman run --init -p 127.0.0.1:${PORT}:80/tcp -w /srv org/web:1 serve --fast"})
    made = outcome.imported[0].recipe
    assert made == {
        "engine": "container",
        "image": "org/web:1",
        "command": ["serve", "--fast"],
        "port": 5800,
        "ports": [{"host": 5800, "container": 80}],
        "network": "bridge",
        "workdir": "/srv",
        "init": True,
        "probe": {"kind": "http", "path": "/health"},
    }
    assert [note.message for note in outcome.lost] == ["the port is published on every address, not 127.0.0.1 alone"]


def test_files_of_the_home_folder_get_a_place_in_the_container() -> None:
    made = read(
        {"models": {"m": {"cmd": "/opt/llama-server -m ${env.HOME}/models/x.gguf --port 1"}}},
        "ghcr.io/ggml-org/llama.cpp:server",
    )
    recipe = made.imported[0].recipe
    assert "entrypoint" not in recipe
    assert recipe["command"] == ["-m", "/mnt/home/models/x.gguf", "--port", "1"]
    assert {"source": "$HOME/models", "target": "/mnt/home/models", "readOnly": True} in recipe["mounts"]
    assert made.lost == ()


def test_a_program_of_nobody_we_know_keeps_its_path() -> None:
    outcome = model({"cmd": "bash -c 'cd /opt && A=b ./server --port ${PORT}'"})
    recipe = outcome.imported[0].recipe
    assert (recipe["command"], recipe["env"], recipe["port"]) == (["./server", "--port", "5800"], {"A": "b"}, 5800)
    assert [note.key for note in outcome.lost] == ["models.m.cmd: cd /opt"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("", "it has no command"),
        ("docker run --rm", "names no image"),
        (
            "docker run --what 1 image",
            "--what is not an option that this importer knows, nor whether a value follows it",
        ),
        ("docker run --env", "--env has no value"),
        ("llama-server ${nothing}", "${nothing} has no value here"),
        ("llama-server ${env.SECRET}", "${env.SECRET} has no value here"),
        ("llama-server --x ${env.HOME}", "$HOME: ${env.HOME} has a value for files and mounts only"),
        ("docker run -e A=${env.HOME}/b org/web:1", "$HOME/b: ${env.HOME} has a value for mounts only"),
        ("llama-server 'x", "a ' has no partner"),
        ("bash -c 'a | b'", "`|` needs a shell, and a container runs one program"),
    ],
)
def test_a_model_that_can_not_be_read_is_left_out_with_the_reason(command: str, why: str) -> None:
    outcome = read({"models": {"m": {"cmd": command}, "good": {"cmd": "llama-server -hf a/b --port 1"}}})
    assert [each.name for each in outcome.imported] == ["good"]
    assert [(note.key, note.message) for note in outcome.lost] == [("models.m", f"the model is left out: {why}")]


def test_an_unknown_option_with_its_value_joined_is_listed() -> None:
    outcome = model({"cmd": "docker run --what=1 --memory 4g org/web:1"})
    assert [(note.key, note.message) for note in outcome.lost] == [
        ("models.m.cmd: --what", "is not an option that this importer knows"),
        ("models.m.cmd: --memory", "there is no field for it"),
    ]


def test_two_models_whose_names_become_one() -> None:
    command = {"cmd": "llama-server -hf a/b --port 1"}
    assert [each.name for each in read({"models": {"a/b": command, "a-b": command, "A_B": command}}).imported] == [
        "a-b",
        "a-b-2",
        "a-b-3",
    ]


@pytest.mark.parametrize("text", ["", "models: []", "{}", "models: {a: 1, a: 2}", "- a"])
def test_what_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_config(text, "config.yaml")


@given(
    st.sampled_from([(), ("models", "m")]),
    st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True),
    st.none()
    | st.integers(0, 99)
    | st.text("ab: $", max_size=5)
    | st.lists(st.text("ab=", max_size=4), max_size=2)
    | st.just({"a": 1}),
)
def test_any_key_added_is_in_the_account(place: tuple[str, ...], key: str, value: Any) -> None:
    settings: dict[str, Any] = {"cmd": "llama-server -hf a/b --port 1"}
    data: dict[str, Any] = {"models": {"m": settings}}
    (settings if place else data).setdefault(key, value)
    try:
        outcome = read(data)
    except Invalid:
        return
    at = ".".join((*place, key))
    told = [note for note in outcome.notes if note.key == at or note.key.startswith((f"{at}.", f"{at}[", f"{at}:"))]
    assert told or any(at.startswith(f"{note.key}.") for note in outcome.notes)
    if told and "is not a key" in told[0].message:
        assert told[0].fate is Fate.LOST


def test_every_option_that_is_taken_has_a_way_to_take_it() -> None:
    outcome = model({"cmd": "docker run " + " ".join(f"--{name}=x" for name in sorted(_TAKERS)) + " org/web:1"})
    assert outcome.imported
    assert {note.key.split(": ")[1].split(" ")[0].lstrip("-") for note in outcome.lost} >= {
        "publish",
        "ulimit",
        "volume",
    }
