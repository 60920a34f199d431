"""The small parts by themselves."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
import yaml

from api.assemble import find_desired
from api.commands.reading import _spark_row
from api.environment import Completion, sparks_of
from api.folder import DataFolder, Unusable
from api.output import age, size
from api.practice import EXAMPLE, with_sparks
from api.reach import Reach
from api.serve import _listen
from api.settle import Settling, covers
from api.show_plan import summary
from state.load import load_text
from state.sources import Source
from tests.unit.api.conftest import Stage


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (19.9, "19s"),
        (60, "1m"),
        (504, "8m24s"),
        (3600, "1h"),
        (11_520, "3h12m"),
        (446_400, "5d4h"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_sizes() -> None:
    assert [size(None), size(2**20), size(1.5 * 2**30), size(3.2 * 2**40)] == ["-", "1 MiB", "1.5 GiB", "3.2 TiB"]


def test_the_sparks_of_the_environment() -> None:
    environ = {
        "SPARK2_HOST": "h: 2",
        "SPARK1_HOST": "10.0.0.1",
        "SPARK1_USER": "ann",
        "SPARK3_HOST": "",
        "SPARK_HOST": "x",
    }
    source = sparks_of(environ)
    assert source is not None
    assert yaml.safe_load(source.data) == {
        "sparks": {"spark-1": {"host": "10.0.0.1", "user": "ann"}, "spark-2": {"host": "h: 2"}}
    }
    assert sparks_of({}) is None
    empty, own = Source("a", b"sparks: {}\n"), Source("b", b"sparks: {x: {host: h}}\n")
    assert Completion(environ)((empty,)) == (empty, source)
    assert Completion(environ)((empty, own)) == (empty, own)
    assert Completion({})((empty,)) == (empty,)
    assert Completion(environ)((Source("c", b"{"),))[0].name == "c", "what can't be read is not our business"


def test_how_sparks_are_reached(tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").touch()
    reach = Reach.of({"SSH_DIR": str(tmp_path)}, tmp_path / "own")
    assert (reach.key, reach.config) == (tmp_path / "id_ed25519", (tmp_path / "config",))
    assert Reach.of({"SSH_DIR": str(tmp_path), "SSH_KEY_PATH": "/k"}, tmp_path).key == Path("/k")
    assert Reach.of({}, tmp_path).key is None


def test_a_data_folder_is_private_and_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with DataFolder(path) as folder:
        assert path.stat().st_mode & 0o777 == 0o700
        assert folder.secrets.stat().st_mode & 0o777 == 0o700
        with pytest.raises(Unusable, match=f"process {os.getpid()}.*already uses.*--data"), DataFolder(path):
            pass
    with DataFolder(path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(Unusable, match="can't be used"), DataFolder(tmp_path / "file"):
        pass


def test_a_busy_port_is_a_sentence() -> None:
    with _listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Unusable, match=f"port {port} is in use"), _listen("127.0.0.1", port):
            pass
    with pytest.raises(Unusable, match="can't listen on"), _listen("192.0.2.1", port):
        pass
    with pytest.raises(Unusable, match="is no address"), _listen("no such name", port):
        pass


def test_which_desired_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = DataFolder(tmp_path / "data")
    with pytest.raises(Unusable, match="--desired"):
        find_desired(None, folder)
    folder.make()
    folder.desired.touch()
    assert find_desired(None, folder) == folder.desired
    (tmp_path / "desired.yaml").touch()
    assert find_desired(None, folder) == tmp_path / "desired.yaml"
    assert find_desired(Path("other"), folder) == Path("other")


SPARKS = {"spark-1": {"host": "127.77.0.1", "port": 2201, "user": "practice"}}


@pytest.mark.parametrize(
    "text",
    [
        "# top\nsparks:\n  a: {host: h}  # old\n\n  b:\n    host: h\n# below\nservices: {}\n",
        "# top\nservices: {}\nsparks: {a: {host: h}}",
        "# top\n# below\nservices: {}\n",
        "# top\n# below\nservices: {}",
    ],
)
def test_practice_sparks_take_the_place_of_the_declared(text: str) -> None:
    changed = with_sparks(text.encode(), SPARKS).decode()
    assert yaml.safe_load(changed) == {"sparks": SPARKS, "services": {}}
    assert changed.startswith("# top\n")
    assert ("# below\n" in changed) == ("# below" in text)
    assert "# old" not in changed


def test_the_example_can_be_practised() -> None:
    loaded = load_text(with_sparks(EXAMPLE.read_bytes(), SPARKS | {"spark-2": SPARKS["spark-1"]}), "d", _recipes())
    assert loaded.desired.sparks["spark-1"].port == 2201


def _recipes():
    from state.sources import recipe_files

    return recipe_files({})


def status(sync: str, reason: str = "Reachable") -> dict:
    workload = {"sync": sync, "message": "m", "conditions": [{"type": "Synced", "message": "because"}]}
    return {"sparks": {"s": {"reason": reason}}, "workloads": {"w": workload}}


def plan(*steps: str, held: str = "", withheld: tuple[str, ...] = ()) -> dict:
    def step(command: str) -> dict:
        return {"spark": "s", "workload": command, "rank": 0, "verb": "stop", "command": command, "destructive": True}

    return {
        "steps": [step(c) for c in steps],
        "withheld": [step(c) for c in withheld],
        "held": [{"reason": held, "until": None, "workload": "w", "spark": "s"}] if held else [],
    }


def test_settled_means_steady() -> None:
    settling = Settling()
    assert settling.look(status("OutOfSync"), plan("a"), 0) is None
    assert settling.look(status("OutOfSync"), plan("a"), 100) is None, "there are steps to do"
    assert settling.look(status("Synced"), plan(), 101) is None, "just now"
    found = settling.look(status("Synced"), plan(), 104)
    assert found is not None
    assert found.good
    assert settling.look(status("OutOfSync"), plan(held="Pulling"), 110) is None
    assert settling.look(status("OutOfSync"), plan(held="Pulling"), 200) is None, "it is on its way"
    assert settling.look(status("OutOfSync"), plan(held="InsufficientMemory"), 201) is None
    assert settling.look(status("OutOfSync"), plan(held="InsufficientMemory"), 215) is None, "memory may come back"
    found = settling.look(status("OutOfSync"), plan(held="InsufficientMemory"), 222)
    assert found is not None
    assert found.lines == ("w: OutOfSync: because",)


def test_a_moved_plan_is_covered_if_it_takes_down_nothing_new() -> None:
    agreed = plan("a", withheld=("b", "c"))
    assert covers(agreed, plan(withheld=("c",)))
    assert covers(agreed, plan(withheld=("a",)))
    assert covers(agreed, plan("z"))
    assert not covers(agreed, plan(withheld=("c", "d")))


def test_summaries() -> None:
    assert summary(plan()) == "Nothing to do. The Sparks are as declared."
    assert summary(plan(held="OnDemand")) == "Nothing to do. The Sparks are as declared."
    assert summary(plan(held="Pulling")) == "Nothing to do now. 1 workload waiting."
    assert summary(plan(held="BadFlag")) == "Nothing to do. 1 workload left alone, for the reasons above."
    assert summary(plan("a")) == "Plan: 1 to stop."
    assert summary(plan(withheld=("a",))) == "Plan: nothing without your approval. 1 step withheld until you approve."


async def test_an_end_waits_for_commands_under_way_and_begins_none(stage: Stage) -> None:
    spark = stage.sparks["s1"]
    spark.slow = 0.3
    ran = len(spark.ran)
    await stage.rewrite(stage.desired.read_text().replace("keep/echo:1', port: 8000", "keep/echo:2', port: 8000"))
    await asyncio.sleep(0.1)
    assert len(spark.ran) == ran + 1
    await stage.context.loop.finish(5)
    actions = await stage.context.journal.actions(workload="echo")
    assert [(a.verb, a.outcome) for a in actions[1:]] == [("stop", "ok")], "the stop came to its end, nothing began"


def test_a_data_folder_is_the_same_holder_in_every_run_and_a_copy_elsewhere_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "desk.lan")
    one, two = DataFolder(tmp_path / "one"), DataFolder(tmp_path / "two")
    for folder in (one, two):
        folder.make()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}@desk\.lan", one.holder())
    assert DataFolder(tmp_path / "one").holder() == one.holder() != two.holder()
    known = one.holder()
    monkeypatch.setattr("socket.gethostname", lambda: "l'été $(id)")
    assert one.holder() == known.replace("@desk.lan", "@l--t----id-")
    (tmp_path / "one/holder").write_text("nonsense")
    assert one.holder().partition("@")[0] not in {known.partition("@")[0], "nonsense"}
    (tmp_path / "two/holder").unlink()
    (tmp_path / "two/holder").mkdir()
    with pytest.raises(Unusable, match="holder can't be read or written"):
        two.holder()


def test_an_apply_waits_for_a_lease_that_is_on_its_way() -> None:
    plan = {"steps": [], "withheld": [], "held": [{"reason": "LeaseNotTaken"}]}
    status = {"sparks": {}, "workloads": {}}
    settling = Settling()
    assert settling.look(status, plan, 0.0) is None
    assert settling.look(status, plan, 60.0) is None
    held = {**plan, "held": [{"reason": "LeaseHeld"}]}
    assert settling.look(status, held, 61.0) is None
    assert settling.look(status, held, 64.0) is not None


def test_a_spark_that_somebody_else_keeps_says_so_in_the_table() -> None:
    lease = {"ours": False, "reason": "LeaseHeld", "message": "sparkkeep on desk keeps this Spark", "holder": "desk"}
    spark = {
        "host": "10.0.0.1",
        "reachable": True,
        "reason": "Reachable",
        "message": "",
        "drained": False,
        "cordoned": False,
        "facts": None,
        "foreign": [],
        "scannedAt": None,
        "lease": lease,
    }
    assert [str(cell) for cell in _spark_row("spark-1", spark)] == [
        *("spark-1", "10.0.0.1", "Reachable, LeaseHeld", "-", "-", "-", "never"),
        "sparkkeep on desk keeps this Spark",
    ]
    gone = {**spark, "reachable": False, "reason": "ConnectTimeout", "message": "no answer"}
    assert [str(cell) for cell in _spark_row("spark-1", gone)][2::5] == ["Unknown", "no answer"]
    ours = {**spark, "lease": {**lease, "ours": True, "reason": "LeaseOurs", "message": ""}}
    for quiet in (ours, {**spark, "lease": None}):
        assert [str(cell) for cell in _spark_row("spark-1", quiet)][2::5] == ["Reachable", ""]
