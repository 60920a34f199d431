# ruff: noqa: RUF012  # pydantic copies mutable defaults
"""The list of settings is the schema's, and the environment lies under the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.assemble import Store
from api.environment import Completion
from api.settings_page import FILE, text
from api.started import NAMED, options
from state.declared import Declared
from state.desired import Desired
from state.fields import (
    MAX_BYTES,
    Duration,
    Name,
    Size,
    Steers,
    parse_duration,
    parse_size,
    written_duration,
    written_size,
)
from state.journal import Journal
from state.load import Loaded, load_sources
from state.problems import Invalid
from state.settings import SETTINGS, Setting, _listed, setting_at
from state.settings_base import Base, origin
from state.sources import Source


class Mail(Declared):
    """Letters."""

    to: Annotated[list[Name], Steers("the postman")] = []
    """Who gets them."""
    every: Duration = 90.0
    """How often."""


class Later(Declared):
    """What may come."""

    mail: Mail = Mail()
    """Letters."""
    hook: Mail | None = None
    """Nothing unless it is declared."""
    level: Literal["low", "high"] = "low"
    """How loud."""
    room: Size | None = None
    """Where."""
    rules: dict[Name, Mail] = {}
    """By name."""


def loaded(text: str, environ: dict[str, str]) -> Loaded:
    return load_sources(Completion(environ)((Source("d.yaml", text.encode()),)))


def test_the_committed_page_is_the_generated_one() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `make schema`"


def test_a_field_that_a_model_gains_is_a_setting_whatever_it_is() -> None:
    found = {setting.name: setting for setting in _listed(Later, ("settings",), Later().model_dump(mode="json"))}
    assert {name: (s.type, s.default, s.variable) for name, s in found.items()} == {
        "settings.mail.to": ("list", [], "SPARKKEEP_SETTINGS_MAIL_TO"),
        "settings.mail.every": ("duration", "1m30s", "SPARKKEEP_SETTINGS_MAIL_EVERY"),
        "settings.hook.to": ("list", None, "SPARKKEEP_SETTINGS_HOOK_TO"),
        "settings.hook.every": ("duration", None, "SPARKKEEP_SETTINGS_HOOK_EVERY"),
        "settings.level": ("word", "low", "SPARKKEEP_SETTINGS_LEVEL"),
        "settings.room": ("size", None, "SPARKKEEP_SETTINGS_ROOM"),
        "settings.rules": ("map", {}, "SPARKKEEP_SETTINGS_RULES"),
    }
    assert found["settings.level"].allowed == ("low", "high")
    assert found["settings.mail.every"].allowed == ("at least 0s", "at most 30d")
    assert found["settings.mail.to"].steers == "the postman"
    assert found["settings.mail.every"].steers == "Letters.", "where nothing is said, what its model is"
    assert "$ref" not in json.dumps([setting.schema for setting in found.values()])


def test_every_setting_says_all_that_a_form_needs() -> None:
    for setting in SETTINGS.values():
        assert setting.help, setting.name
        assert setting.steers, setting.name
        assert setting.allowed, setting.name
        assert json.loads(json.dumps(setting.schema))["default"] == setting.default
        assert setting.within(Desired().model_dump(mode="json")) == setting.default
        assert setting_at(f"{setting.name}[3].x") is setting
    assert setting_at("settings.keeper") is None


def test_every_default_may_be_written_down_and_means_itself() -> None:
    written: dict[str, Any] = {}
    for setting in SETTINGS.values():
        if setting.default is not None:
            *above, last = setting.path
            below = written
            for part in above:
                below = below.setdefault(part, {})
            below[last] = setting.default
    found = loaded(json.dumps(written), {})
    assert found.desired == Desired()
    assert {name for name, setting in SETTINGS.items() if setting.default is not None} == set(found.settings_at)


def test_no_variable_means_two_things() -> None:
    import typer

    from api.commands import serving

    command = typer.main.get_command(serving.app).commands["serve"]  # type: ignore[attr-defined]  # a group
    others = {variable for start in options(command) for variable in start.variables} | set(NAMED)
    variables = [setting.variable for setting in SETTINGS.values()]
    assert len(set(variables)) == len(variables)
    assert others.isdisjoint(variables)


@given(st.integers(0, 30 * 86400 * 10**6))
def test_a_duration_is_read_back_as_it_was_written(microseconds: int) -> None:
    seconds = microseconds / 10**6
    assert parse_duration(written_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@given(st.one_of(st.integers(0, MAX_BYTES), st.integers(0, 2**20).map(lambda n: n * 2**30)))
def test_a_size_is_read_back_as_it_was_written(size: int) -> None:
    assert parse_size(written_size(size)) == size


def test_durations_and_sizes_are_written_as_people_do() -> None:
    assert [written_duration(s) for s in (0, 0.05, 1.5, 45, 90, 3600, 86400, 93784)] == [
        "0s", "0.05s", "1.5s", "45s", "1m30s", "1h", "1d", "1d2h3m4s"
    ]  # fmt: skip
    assert [written_size(n) for n in (0, 1000, 1536, 2**20, 8 * 2**30, 3 * 2**40)] == [
        "0", "1000", "1536", "1MiB", "8GiB", "3TiB"
    ]  # fmt: skip


VALUES: dict[str, tuple[str, ...]] = {
    "settings.scanInterval": ("5s", "45s", "1h"),
    "settings.keep": ("[a/b]", "[]", "[c/d, e/f]"),
    "settings.owner": ("me", "12"),
    "settings.registries": ("{x.io: {user: a, secret: b}}", "{y.io: {user: a, secret: b}}"),
    "settings.dropPageCache": ("false", "true"),
    "guards.maxDestructive": ("0", "3"),
}
some = st.fixed_dictionaries({}, optional={name: st.sampled_from(words) for name, words in VALUES.items()})


@given(saved=some, environment=some)
def test_what_is_saved_lies_over_the_environment_and_that_over_the_default(
    saved: dict[str, str], environment: dict[str, str]
) -> None:
    def document(values: dict[str, str]) -> str:
        lines = ["{}"] if not values else []
        for section in ("settings", "guards"):
            inside = [f"  {n.partition('.')[2]}: {quoted(n, v)}" for n, v in values.items() if n.startswith(section)]
            lines += [f"{section}:", *inside] if inside else []
        return "\n".join(lines) + "\n"

    def quoted(name: str, value: str) -> str:
        return f'"{value}"' if name == "settings.owner" else value

    found = loaded(document(saved), {SETTINGS[name].variable: value for name, value in environment.items()})
    assert found.desired == loaded(document({**environment, **saved}), {}).desired
    told = {name: origin(found.settings_at.get(name)) for name in VALUES}
    assert told == {
        name: "saved" if name in saved else "environment" if name in environment else "default" for name in VALUES
    }


def test_what_is_not_fit_is_refused_by_the_name_of_its_variable() -> None:
    environ = {
        "SPARKKEEP_SETTINGS_SCAN_INTERVAL": "0.5s",
        "SPARKKEEP_SETTINGS_SCAN_INTERVALL": "45s",
        "SPARKKEEP_SETTINGS_KEEP": "[a",
        "SPARKKEEP_SETTINGS_REGISTRIES": "{x.io: {user: a}}",
        "SPARKKEEP_GUARDS_MAX_DESTRUCTIVE": "lots",
        "SPARKKEEP_SETTINGS_OWNER": "",
        "SPARKKEEP_SERVER": "http://elsewhere",
    }
    with pytest.raises(Invalid) as refused:
        Base.of(environ)
    told = {problem.field: problem for problem in refused.value.problems}
    assert set(told) == {
        "SPARKKEEP_SETTINGS_SCAN_INTERVAL",
        "SPARKKEEP_SETTINGS_SCAN_INTERVALL",
        "SPARKKEEP_SETTINGS_KEEP",
        "SPARKKEEP_SETTINGS_REGISTRIES.x.io.secret",
        "SPARKKEEP_GUARDS_MAX_DESTRUCTIVE",
    }
    assert told["SPARKKEEP_SETTINGS_SCAN_INTERVAL"].allowed == ("at least 1s", "at most 1h")
    assert "did you mean SPARKKEEP_SETTINGS_SCAN_INTERVAL?" in told["SPARKKEEP_SETTINGS_SCAN_INTERVALL"].message
    assert Base.of({"SPARKKEEP_SETTINGS_OWNER": ""}) == Base(), "an empty one says nothing"


@pytest.mark.parametrize("document", ["settings: 3\n", "settings: [a]\n", "guards: no\n", "settings: {keep: 3}\n"])
def test_the_environment_hides_no_fault_of_a_file(document: str) -> None:
    environ = {"SPARKKEEP_SETTINGS_KEEP": "[a/b]", "SPARKKEEP_GUARDS_MAX_DESTRUCTIVE": "1"}
    with pytest.raises(Invalid) as refused:
        loaded(document, environ)
    assert all(problem.file == "d.yaml" for problem in refused.value.problems)


async def test_a_file_that_was_emptied_is_not_believed_because_the_environment_says_something(tmp_path: Path) -> None:
    """Symptom: with one variable set, an editor's empty file would have stopped everything."""
    file, journal = tmp_path / "desired.yaml", Journal(":memory:")
    file.write_text("sparks: {s1: {host: h}}\n")
    complete = Completion({"SPARKKEEP_SETTINGS_SCAN_INTERVAL": "45s"})
    store = Store(file, generations=journal, recipes=(), complete=complete)
    await store.open()
    before = store.current
    file.write_text("# nothing\n")
    assert not await store.reload()
    assert (store.current, len(store.problems)) == (before, 1)
    journal.close()


async def test_with_a_spoilt_file_the_last_good_one_counts_and_this_environment(tmp_path: Path) -> None:
    file, journal = tmp_path / "desired.yaml", Journal(":memory:")
    file.write_text("sparks: {s1: {host: h}}\nsettings: {keep: [a/b]}\n")
    for interval in ("45s", "50s"):
        complete = Completion({"SPARKKEEP_SETTINGS_SCAN_INTERVAL": interval, "SPARKKEEP_SETTINGS_KEEP": "[c/d]"})
        store = Store(file, generations=journal, recipes=(), complete=complete)
        await store.open()
        settings = store.current.loaded.desired.settings
        assert (settings.scan_interval, settings.keep) == (parse_duration(interval), ["a/b"])
        file.write_text("sparks: [")
    assert store.problems
    journal.close()


def test_a_setting_is_found_by_its_words(tmp_path: Path) -> None:
    assert isinstance(SETTINGS["settings.reserve"], Setting)
    with pytest.raises(Invalid, match=r"did you mean SPARKKEEP_SETTINGS_DISK_RESERVE\?"):
        Base.of({"SPARKKEEP_SETTINGS_DISKRESERVE": "9GiB"})
    with pytest.raises(Invalid) as refused:
        Base.of({"SPARKKEEP_SETTINGS_XYZ": "1"})
    assert refused.value.problems[0].message == "is no setting", "nothing is guessed without a likeness"
