"""sparkrun's recipes, versions 2 and 1, written here for the purpose."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.importers.accounts import Fate, Outcome
from reconciler.importers.sparkrun import read_recipe
from state.problems import Invalid
from state.recipes import Recipe

V2: dict[str, Any] = {
    "recipe_version": "2",
    "model": "org/Some-Model-8B",
    "runtime": "vllm",
    "container": "ghcr.io/org/image:1",
    "metadata": {"description": "Some model", "model_params": "8B", "author": "me"},
    "defaults": {
        "port": 8010,
        "host": "0.0.0.0",
        "tensor_parallel": 1,
        "gpu_memory_utilization": 0.70,
        "max_model_len": 65536,
        "speculative_config": '{"method": "mtp", "num_speculative_tokens": 2}',
        "unused": 1,
    },
    "env": {"VLLM_X": 1, "HF_TOKEN": "hf_abcdefghijkl"},
    "command": "vllm serve {model} \\\n  --host {host} --port {port} -tp {tensor_parallel} \\\n"
    "  --gpu-memory-utilization {gpu_memory_utilization} --max-model-len {max_model_len} \\\n"
    "  --speculative-config '{speculative_config}' --enable-prefix-caching",
}


def read(data: dict[str, Any], name: str = "some-model.yaml") -> Outcome:
    outcome = read_recipe(yaml.safe_dump(data, sort_keys=False), name)
    for each in outcome.imported:
        Recipe.model_validate(each.recipe)
    return outcome


def recipe(data: dict[str, Any]) -> dict[str, Any]:
    return read(data).imported[0].recipe


def fates(outcome: Outcome) -> dict[str, Fate]:
    return {note.key: note.fate for note in outcome.notes}


def test_a_whole_recipe() -> None:
    outcome = read(V2)
    (imported,) = outcome.imported
    assert imported.name == "some-model"
    assert imported.recipe == {
        "engine": "vllm",
        "description": "Some model",
        "model": "org/Some-Model-8B",
        "image": "ghcr.io/org/image:1",
        "flags": {
            "gpu-memory-utilization": 0.7,
            "max-model-len": 65536,
            "speculative-config": {"method": "mtp", "num_speculative_tokens": 2},
            "enable-prefix-caching": True,
        },
        "env": {"VLLM_X": "1", "HF_TOKEN": {"secret": "hf-token"}},
        "port": 8010,
        "probe": "chat",
    }
    assert imported.workload == {"run": "never", "on": "any", "aliases": ["org/Some-Model-8B"]}
    assert {note.key: note.message for note in outcome.lost} == {
        "metadata.author": "about the recipe, not about serving; there is no field for it",
        "env.HF_TOKEN": "the value is a secret and was not copied: `sparkkeep secret set hf-token`",
    }
    assert "hf_abcdefghijkl" not in str(outcome)
    assert fates(outcome)["defaults.unused"] is Fate.CONSUMED
    assert fates(outcome)["defaults.max_model_len"] is Fate.CARRIED


def test_version_1_as_eugr_writes_it() -> None:
    data = {
        "recipe_version": "1",
        "name": "Some Model (TP=2)",
        "description": "Some model on two",
        "model": "org/m",
        "container": "vllm-node-tf5",
        "cluster_only": True,
        "build_args": ["--tf5"],
        "mods": ["mods/fix-it", "other"],
        "defaults": {"port": 8000, "host": "0.0.0.0", "tensor_parallel": 2},
        "env": {"A": True, "B": 12.1, "C": "0"},
        "command": "vllm serve org/m --port {port} --host {host} -tp {tensor_parallel} "
        '--distributed-executor-backend ray --x \'{{"a":{{"b":1}}}}\'\n',
    }
    outcome = read(data)
    (imported,) = outcome.imported
    assert imported.recipe == {
        "engine": "vllm",
        "description": "Some model on two",
        "model": "org/m",
        "image": "vllm-node-tf5",
        "pull": "never",
        "flags": {"x": {"a": {"b": 1}}},
        "mods": ["fix-it", "other"],
        "distributed": "ray",
        "env": {"A": "True", "B": "12.1", "C": "0"},
        "port": 8000,
        "probe": "chat",
    }
    assert imported.workload == {"run": "never", "across": ["spark-1", "spark-2"], "aliases": ["org/m"]}
    assert [note.key for note in outcome.lost] == ["build_args"]


def test_without_a_command_the_defaults_become_flags_as_sparkrun_does_it() -> None:
    data = {key: V2[key] for key in ("model", "container")} | {
        "runtime": "vllm-distributed",
        "defaults": {
            "port": 8000,
            "max_model_len": 4096,
            "enable_prefix_caching": False,
            "enforce_eager": "yes",
            "trust_remote_code": False,
            "compilation_config": {"mode": 3},
            "limit_mm_per_prompt": '{"image": 2, "video": 1}',
            "served_model_name": "one two",
            "no_flag_for_this": 1,
        },
    }
    outcome = read(data)
    assert outcome.imported[0].recipe["flags"] == {
        "gpu-memory-utilization": 0.8,
        "max-model-len": 4096,
        "served-model-name": ["one", "two"],
        "enforce-eager": True,
        "no-enable-prefix-caching": True,
        "compilation-config": {"mode": 3},
        "limit-mm-per-prompt": {"image": 2, "video": 1},
    }
    assert [(note.key, note.message) for note in outcome.lost] == [
        ("defaults.no_flag_for_this", "sparkrun knows no flag of vllm for it")
    ]


@pytest.mark.parametrize(
    ("runtime", "model", "expected"),
    [
        (
            "sglang",
            "org/m",
            {"engine": "sglang", "model": "org/m", "flags": {"context-length": 4096, "mem-fraction-static": 0.5}},
        ),
        (
            "llama-cpp",
            "org/m:Q4_K_M",
            {
                "engine": "llamacpp",
                "model": "org/m",
                "quant": "Q4_K_M",
                "flags": {"no-mmap": True, "split-mode": "layer", "ctx-size": 4096},
            },
        ),
        (
            "trtllm",
            "org/m",
            {"engine": "trtllm", "model": "org/m", "flags": {"backend": "pytorch", "max_seq_len": 4096}},
        ),
    ],
)
def test_other_runtimes_without_a_command(runtime: str, model: str, expected: dict[str, Any]) -> None:
    data = {
        "model": model,
        "runtime": runtime,
        "container": "x/y",
        "defaults": {"max_model_len": 4096, "gpu_memory_utilization": 0.5},
    }
    made = recipe(data)
    assert {key: made[key] for key in expected} == expected


def test_what_sparkrun_adds_to_a_command() -> None:
    data = V2 | {
        "runtime": "vllm-ray",
        "min_nodes": 2,
        "defaults": V2["defaults"] | {"served_model_name": "short other", "data_parallel": 2, "tensor_parallel": 1},
    }
    outcome = read(data)
    made = outcome.imported[0]
    assert made.recipe["distributed"] == "ray"
    assert made.recipe["flags"]["served-model-name"] == ["short", "other"]
    assert made.recipe["flags"]["data-parallel-size"] == 2
    assert made.recipe["flags"]["tensor-parallel-size"] == 1
    assert made.workload["aliases"] == ["short", "other"]


def test_the_executors_settings() -> None:
    config = {
        "user": "1000:1000", "shm_size": "32gb", "ipc": "shareable", "network": "host", "privileged": True, "gpus": "all",
        "ulimit": ["memlock=-1:-1", "nofile=1:2"], "cap_add": ["IPC_LOCK"], "devices": ["/dev/infiniband:/dev/infiniband"],
        "volumes": ["~/m:/m:ro", "nonsense"], "entrypoint": "", "auto_remove": False, "memory_limit": "100g",
        "security_opt": ["no-new-privileges"], "working_dir": "/w", "odd": 1,
    }  # fmt: skip
    outcome = read(V2 | {"executor_config": config})
    made = outcome.imported[0].recipe
    assert {key: made[key] for key in ("user", "shm", "network", "privileged", "gpus", "ulimits", "capAdd", "devices")} == {
        "user": "1000:1000", "shm": "32g", "network": "host", "privileged": True, "gpus": "all",
        "ulimits": {"memlock": -1}, "capAdd": ["IPC_LOCK"], "devices": ["/dev/infiniband"],
    }  # fmt: skip
    assert made["mounts"] == [{"source": "$HOME/m", "target": "/m", "readOnly": True}]
    assert (made["entrypoint"], made["workdir"], made["securityOpt"]) == ([], "/w", ["no-new-privileges"])
    lost = [(note.key, note.message) for note in outcome.lost if note.key.startswith("executor_config")]
    assert lost == [
        ("executor_config.ulimit", "nofile=1:2 is not a limit such as memlock=-1"),
        ("executor_config.volumes", "nonsense is not a mount such as /data:/data:ro"),
        (
            "executor_config.memory_limit",
            "there is no hard limit; `memory` states what it needs, and is checked before the start",
        ),
        ("executor_config.odd", "is not a key that this importer knows"),
    ]


def test_a_shell_line_gives_its_environment_and_folder() -> None:
    made = recipe(V2 | {"command": "cd /app && export A=1\nB=2 vllm serve {model} --port {port} 2>&1 | tee x.log"})
    assert (made["workdir"], made["env"]["A"], made["env"]["B"], made["engine"]) == ("/app", "1", "2", "vllm")


def test_a_program_that_is_no_engine_keeps_its_argv() -> None:
    outcome = read(V2 | {"command": "uvicorn server:app --host {host} --port {port}", "runtime": "vllm"})
    made = outcome.imported[0].recipe
    assert (made["engine"], made["entrypoint"]) == ("container", [])
    assert made["command"] == ["uvicorn", "server:app", "--host", "0.0.0.0", "--port", "8010"]
    assert (made["port"], made["gpus"]) == (8010, "all")
    assert fates(outcome)["runtime"] is Fate.CONSUMED


def test_a_group_of_what_is_no_engine_is_told() -> None:
    outcome = read(V2 | {"command": "vllm serve /models/m --port {port}", "min_nodes": 2})
    assert outcome.imported[0].workload == {"run": "never", "on": "any"}
    assert ("command", "it is meant for 2 Sparks, and engine: container runs on one") in [
        (n.key, n.message) for n in outcome.lost
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"command": "vllm serve {model} --x {nothing}"},
            "command: can't be carried: {nothing} has no value among the defaults",
        ),
        (
            {"command": "vllm serve {model} | grep x"},
            "command: can't be carried: `|` needs a shell, and a container runs one program",
        ),
        (
            {"command": "vllm serve $MODEL"},
            "command: can't be carried: `$MODEL` is something that only a shell could fill in",
        ),
        ({"command": ["vllm"]}, "command: must be text"),
        ({"defaults": []}, "defaults: must be a map"),
        ({"include": "base"}, "include: builds on another recipe: let sparkrun write it out first (recipe export)"),
        ({"container": None}, "container: is missing, where sparkrun takes its newest image: say `--image IMAGE`"),
        (
            {"command": None, "runtime": "atlas"},
            "command: can't be carried: it is missing, and runtime atlas is not one with known flags",
        ),
    ],
)
def test_what_can_not_be_understood_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as invalid:
        read(V2 | change)
    assert str(invalid.value) == f"some-model.yaml: {said}"


@pytest.mark.parametrize("text", ["", "a", "[1]", "a: b: c", "\x00", "{a: 1, a: 2}", "model: *x"])
def test_what_is_no_recipe_at_all_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_recipe(text, "x.yaml")


keys = st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99999) | st.floats(0, 1) | st.text("abc {}$'\"|&;:\n", max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=4,
)
places = st.sampled_from([(), ("defaults",), ("env",), ("metadata",), ("executor_config",)])


@given(places, keys, values)
def test_any_key_added_anywhere_is_in_the_account(place: tuple[str, ...], key: str, value: Any) -> None:
    data = {**V2, "executor_config": {"user": "root"}}
    inner = data
    for part in place:
        inner[part] = dict(inner[part])
        inner = inner[part]
    inner.setdefault(key, value)
    try:
        outcome = read(data)
    except Invalid:
        return
    at = ".".join((*place, key))
    assert any(
        note.key == at or note.key.startswith((f"{at}.", f"{at}[")) or at.startswith(f"{note.key}.")
        for note in outcome.notes
    )
    known = place == () and key in V2
    if place == () and not known and key not in KNOWN:
        assert [(note.fate, note.message) for note in outcome.notes if note.key == key] == [
            (Fate.LOST, "is not a key that this importer knows")
        ]


KNOWN = set(
    re.findall(
        r"\w+", "mods name builder mode layout env_templates include readiness capabilities scheduler volumes overrides"
    )
)


@given(st.sets(st.sampled_from(sorted(V2)), max_size=4))
def test_every_key_is_accounted_for_whatever_is_left_out(left: set[str]) -> None:
    data = {key: value for key, value in V2.items() if key not in left}
    try:
        outcome = read(data)
    except Invalid:
        assert left & {"container", "model", "defaults"}  # without these the template can't be filled
        return
    said = {note.key.split(".")[0].split(":")[0] for note in outcome.notes}
    assert set(data) <= said
