"""Build contexts: read whole and bounded, without what is left out and without secrets, named by what is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from state import contexts
from state.contexts import ContextRefused, read_context, read_contexts
from state.dockerignore import skips
from state.load import load_text
from state.problems import Invalid
from state.recipes import Build

NAMES = st.text("abc.-_", min_size=1, max_size=4).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "site"
    (place / "bin").mkdir(parents=True)
    (place / "Dockerfile").write_text("FROM scratch\n")
    (place / "bin" / "tool").write_text("#!/bin/sh\n")
    (place / "bin" / "tool").chmod(0o755)
    return place


def read(folder: Path) -> contexts.Context:
    return read_context([folder.parent], folder.name)


def test_a_context_is_all_of_its_files(folder: Path) -> None:
    found = read(folder)
    assert [(file.path, file.executable) for file in found.files] == [("Dockerfile", False), ("bin/tool", True)]
    assert found.size == 23
    (folder / "bin" / "tool").chmod(0o644)
    assert read(folder).digest != found.digest


def test_what_is_left_out_is_no_part_of_it(folder: Path) -> None:
    before = read(folder).digest
    (folder / "notes.log").write_text("x")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "two.pyc").write_bytes(b"\0" * 100)
    (folder / ".dockerignore").write_text("# what is made anew\n**/*.log\n**/__pycache__\nDockerfile\n")
    found = read(folder)
    assert [file.path for file in found.files] == ["Dockerfile", "bin/tool"]
    assert found.digest == before


def test_what_only_its_owner_may_read_is_taken_for_a_secret(folder: Path) -> None:
    key = folder / "bin" / "key.pem"
    key.write_text("secret")
    key.chmod(0o600)
    with pytest.raises(ContextRefused, match=r"only its owner may read bin/key\.pem, so it is taken for a secret"):
        read(folder)
    (folder / ".dockerignore").write_text("**/*.pem\n")
    assert "key" not in str(read(folder))


def test_what_can_not_be_sent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ContextRefused, match=f"build context gone: there is no such folder in {folder.parent}"):
        read_context([folder.parent], "gone")
    (folder / "away").symlink_to("/etc")
    with pytest.raises(ContextRefused, match="build context site: away is a link"):
        read(folder)
    (folder / "away").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(ContextRefused, match="pipe is not a plain file"):
        read(folder)
    (folder / "pipe").unlink()
    monkeypatch.setattr(contexts, "MAX_BYTES", 22)
    with pytest.raises(ContextRefused, match="it has more than 0 MiB"):
        read(folder)
    monkeypatch.setattr(contexts, "MAX_FILES", 1)
    with pytest.raises(ContextRefused, match="it has more than 1 files"):
        read(folder)
    monkeypatch.undo()
    (folder / ".dockerignore").write_text("[a\n")
    with pytest.raises(ContextRefused, match=r"\.dockerignore: '\[a' has a \[ without its \]"):
        read(folder)
    (folder / ".dockerignore").unlink()
    (folder / "Dockerfile").unlink()
    found, refused = read_contexts([folder.parent], ["site", "spark_embed"])
    assert list(found) == ["spark_embed"], "which ships"
    assert str(refused["site"]) == "build context site: it has no Dockerfile"


def test_a_link_is_no_folder_of_ours(folder: Path) -> None:
    (folder.parent / "other").symlink_to(folder)
    with pytest.raises(ContextRefused, match="there is no such folder"):
        read_context([folder.parent], "other")


def test_the_first_place_that_has_it_counts(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "more"
    (other / "site").mkdir(parents=True)
    (other / "site" / "Dockerfile").write_text("FROM other\n")
    assert read_context([tmp_path / "nowhere", other, folder.parent], "site").files[0].data == b"FROM other\n"
    (tmp_path / "spark_embed").mkdir()
    (tmp_path / "spark_embed" / "Dockerfile").write_text("FROM mine\n")
    assert read_context([tmp_path], "spark_embed").files[0].data == b"FROM mine\n"


# By Docker's own page on .dockerignore, and the tests of moby/patternmatcher.
@pytest.mark.parametrize(
    ("patterns", "path", "out"),
    [
        ("", "a", False),
        ("*/temp*", "some/temporary.txt", True),
        ("*/temp*", "some/temp", True),
        ("*/temp*", "temp", False),
        ("*/*/temp*", "some/sub/temporary.txt", True),
        ("temp?", "tempa", True),
        ("temp?", "temp", False),
        ("**/*.go", "a/b/c.go", True),
        ("**/*.go", "c.go", True),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", False),
        ("/foo/bar", "foo/bar", True),
        ("foo/bar/", "foo/bar", True),
        ("foo", "foo/bar/x", True),
        ("foo", "bar/foo", False),
        ("foo/**", "foo/a/b", True),
        ("**", "anything/at/all", True),
        ("*\n!app", "app/x.py", False),
        ("*\n!app\napp/x.py", "app/x.py", True),
        ("a[b-d]e", "ace", True),
        ("a[^b-d]e", "ace", False),
        ("\\*", "*", True),
        ("\\*", "a", False),
        (" # not a comment", "# not a comment", True),
        ("#a", "#a", False),
        ("./a", "a", True),
        ("a.c", "abc", False),
    ],
)
def test_patterns_mean_what_they_mean_to_docker(patterns: str, path: str, out: bool) -> None:
    assert skips(patterns)(path, False) is out


@given(PATHS)
def test_the_dockerfile_is_always_sent_and_the_patterns_never(path: str) -> None:
    everything = skips("**\n*")
    assert everything(path, False) is (path != "Dockerfile")
    assert everything(".dockerignore", False)
    assert not skips("**\n!x")(path, True), "something in it may be taken back"


@given(PATHS, PATHS)
def test_what_lies_in_a_folder_that_is_left_out_is_left_out(folder: str, rest: str) -> None:
    assert skips(folder)(f"{folder}/{rest}", False) or f"{folder}/{rest}" == "Dockerfile"


RECIPE = "{image: IMAGE, port: 8000, probe: http, build: {context: site, BUILD}}"


def told(image: str, build: str = "base: x/y:1", where: str = "on: s1", more: str = "") -> str:
    recipe = RECIPE.replace("IMAGE", image).replace("BUILD", build).replace("port", f"{more}port", 1)
    text = (
        f"sparks: {{s1: {{host: 10.0.0.1}}, s2: {{host: 10.0.0.2}}}}\nservices: {{a: {{recipe: {recipe}, {where}}}}}\n"
    )
    try:
        load_text(text, "desired.yaml")
    except Invalid as invalid:
        return str(invalid)
    return ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image": "mine/site"}, ""),
        ({"image": "'lan:5000/mine/site'"}, ""),
        ({"image": "'mine/site:1'"}, "leave tag and digest out"),
        ({"image": f"'mine/site@sha256:{'a' * 64}'"}, "leave tag and digest out"),
        ({"image": "Mine/site"}, "Docker wants such names in small letters"),
        ({"image": "mine/site", "more": "pull: never, "}, "the image is built on the Spark, not fetched"),
        ({"image": "mine/site", "build": "args: {BASE: x}"}, "what `base` says"),
        ({"image": "mine/site", "build": "args: {KEY: {secret: hf}}"}, "args"),
        (
            {"image": "mine/site", "where": "across: [s1, s2]"},
            "its image is built on each Spark, so no two have the same",
        ),
    ],
)
def test_what_a_recipe_may_say(given: dict[str, str], words: str) -> None:
    said = told(**given)
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.parametrize("context", ["../site", "/etc", ".", "a/../b", "a//b", ".git"])
def test_a_context_lies_beside_the_desired_state(context: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        Build.model_validate({"context": context})
    assert Build.model_validate({"context": "a/b.c"}).context == "a/b.c"
