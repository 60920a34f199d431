"""`sparkkeep import` as a person calls it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import yaml

from api.cli import main
from state.load import load_sources
from state.sources import Source

RECIPE = """
model: org/m
container: org/image:1
defaults: {port: 8000, host: 0.0.0.0}
command: vllm serve {model} --port {port} --host {host} --kv-cache-dtype fp8
what_is_this: 1
"""


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["import", *arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "Some Model.yaml"
    path.write_text(RECIPE)
    return path


def test_recipes_go_to_standard_output_and_the_rest_to_standard_error(cli, recipe: Path) -> None:
    code, out, err = cli("sparkrun", str(recipe))
    assert code == 0
    assert out.startswith("# desired.yaml then says where and when; for instance:\n#   models:\n#     some-model:\n")
    assert yaml.safe_load(out) == {
        "recipes": {
            "some-model": {
                "engine": "vllm",
                "model": "org/m",
                "image": "org/image:1",
                "flags": {"kv-cache-dtype": "fp8"},
                "port": 8000,
                "probe": "chat",
            }
        }
    }
    assert err.splitlines() == [
        f"{recipe}: not carried: what_is_this: is not a key that this importer knows",
        f"{recipe}: consumed: command: --host 0.0.0.0: every address, as sparkkeep starts it anyway",
    ]
    assert cli("sparkrun", "-q", str(recipe))[2].splitlines() == err.splitlines()[:1]


def test_what_is_printed_is_what_serve_reads(cli, recipe: Path) -> None:
    _, shelf, _ = cli("sparkrun", str(recipe))
    commented = "\n".join(line.removeprefix("#   ") for line in shelf.splitlines()[1:] if line.startswith("#"))
    loaded = load_sources([Source("d.yaml", commented.encode())], [Source("r.yaml", shelf.encode())])
    assert loaded.resolved["some-model"].recipe.model == "org/m"
    assert loaded.resolved["some-model"].workload.run == "never"
    _, whole, _ = cli("eugr", "--in-place", str(recipe))
    loaded = load_sources([Source("d.yaml", whole.encode())], [])
    assert loaded.resolved["some-model"].recipe.model == "org/m"


def test_json_has_it_all(cli, recipe: Path) -> None:
    code, out, err = cli("sparkrun", str(recipe), "-o", "json")
    data = json.loads(out)
    assert (code, err) == (0, "")
    assert set(data) == {"recipes", "models", "services", "notes", "problems"}
    assert data["models"] == {"some-model": {"recipe": "some-model", "run": "never", "on": "any", "aliases": ["org/m"]}}
    assert {"file": str(recipe), "key": "what_is_this", "fate": "not carried"}.items() <= next(
        note for note in data["notes"] if note["key"] == "what_is_this"
    ).items()


def test_a_file_that_can_not_be_read_is_1_and_the_others_are_printed(cli, recipe: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    code, out, err = cli("sparkrun", str(tmp_path / "none.yaml"), str(broken), str(recipe), "-q")
    assert code == 1
    assert list(yaml.safe_load(out)["recipes"]) == ["some-model"]
    assert f"{tmp_path / 'none.yaml'}: can't be read: No such file or directory" in err
    assert f"{broken}:1:5: did not find" in err
    assert cli("sparkrun", str(broken))[:2] == (1, "")
    code, out, _ = cli("sparkrun", str(broken), "-o", "json")
    assert (code, json.loads(out)["problems"][0]["file"]) == (1, str(broken))


def test_one_name_twice_is_said(cli, recipe: Path, tmp_path: Path) -> None:
    other = tmp_path / "more"
    other.mkdir()
    (other / recipe.name).write_text(RECIPE)
    code, _, err = cli("sparkrun", "-q", str(recipe), str(other / recipe.name))
    assert code == 1
    assert "some-model: is the name of two recipes: only the last one was printed" in err


def test_llama_swap_and_inspect_read_standard_input(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    given("models: {m: {cmd: llama-server -hf a/b --port 1}}")
    code, out, _ = cli("llama-swap", "-", "--image", "org/llama:1")
    assert (code, yaml.safe_load(out)["recipes"]["m"]["model"]) == (0, "a/b")
    given("models: {m: {cmd: llama-server -hf a/b --port 1}}")
    code, out, err = cli("llama-swap", "-")
    assert (code, out) == (1, "")
    assert err.startswith("standard input: not carried: models.m: the model is left out")
    given(json.dumps([{"Name": "/web", "Config": {"Image": "org/web:1"}, "HostConfig": {"NetworkMode": "host"}}]))
    code, out, _ = cli("inspect", "-")
    assert (code, yaml.safe_load(out)["recipes"]["web"]["image"]) == (0, "org/web:1")
