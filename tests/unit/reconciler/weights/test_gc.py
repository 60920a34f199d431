"""What is deleted and what stays: the plan by itself, and its commands on a real disk."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.shell import guarded, split
from reconciler.weights.gc import (
    FRESH,
    Blob,
    Cached,
    CacheSurvey,
    Deletion,
    GcPlan,
    GcRefused,
    Reference,
    Revision,
    check_deletable,
    plan,
    script,
)

OLD, NEW = "a" * 40, "b" * 40
X, Y, Z, W = "1" * 64, "2" * 64, "3" * 40, "4" * 64
DAY = 86_400.0
TINY = Cached(
    "models--acme--tiny",
    (Revision(OLD, (), frozenset({X, Z})), Revision(NEW, ("main",), frozenset({Y, Z}))),
    (Blob(X, 100, 9 * DAY), Blob(Y, 200, DAY), Blob(Z, 3, 9 * DAY), Blob(W, 50, 9 * DAY)),
)
LONE = Cached("models--other", (Revision(OLD, ("main", "v1"), frozenset({X})),), (Blob(X, 7, 9 * DAY),))


def survey(*cached: Cached, root: str = "/home/n/.cache/huggingface/hub") -> CacheSurvey:
    return CacheSurvey("spark-1", root, 1000.0, cached)


def planned(*cached: Cached, refs: Iterable[Reference] = (), used: dict[str, list[str]] | None = None) -> GcPlan:
    return plan(survey(*cached), refs, in_use=used or {}, now=1010.0)


def test_nothing_refers_to_it() -> None:
    found = planned(LONE)
    assert found.deletions == (
        Deletion("other: all of it, 1 revision", "nothing refers to it", 7, ("models--other", ".locks/models--other")),
    )
    assert found.bytes == 7


def test_a_revision_that_a_workload_declares_stays_with_its_blobs() -> None:
    found = planned(TINY, refs=[Reference("acme/tiny", "workload qwen", "main")])
    f = "models--acme--tiny"
    assert found.deletions == (
        Deletion(
            f"acme/tiny at {OLD[:12]}", "nothing refers to this revision", 100,
            (f"{f}/snapshots/{OLD}", f"{f}/trees/{OLD}.json", f"{f}/blobs/{X}"),
        ),
    )  # fmt: skip
    assert [(k.what, k.why) for k in found.kept] == [(f"acme/tiny at {NEW[:12]}", "workload qwen")]


def test_a_pin_keeps_a_commit_and_one_without_a_revision_keeps_all() -> None:
    found = planned(TINY, refs=[Reference("acme/tiny", "keep", OLD)])
    assert [d.what for d in found.deletions] == [f"acme/tiny at {NEW[:12]}"]
    assert found.deletions[0].paths[0] == "models--acme--tiny/refs/main"
    assert found.bytes == 200
    for revision in ("", "v9", "c" * 40):  # what it means is not known here, so nothing goes
        assert planned(TINY, refs=[Reference("acme/tiny", "keep", revision)]).deletions == ()


def test_what_a_container_uses_is_never_touched() -> None:
    assert planned(TINY, used={"qwen-0": ["acme/tiny"]}).deletions == ()
    with pytest.raises(GcRefused, match="the container notebook on spark-1 runs, sees the cache"):
        planned(TINY, used={"notebook": []})
    found = plan(survey(TINY, LONE), [], in_use={}, fetching=["acme/tiny"], now=1000.0)
    assert [d.what for d in found.deletions] == ["other: all of it, 1 revision"]


def test_files_that_are_being_fetched_by_somebody() -> None:
    part = Blob(f"{W}.1234abcd.incomplete", 10, 60.0)
    young = Cached(TINY.folder, TINY.revisions, (*TINY.blobs, part))
    assert planned(young).deletions == ()
    stale = Cached(TINY.folder, TINY.revisions, (*TINY.blobs, Blob(part.name, 10, 2 * DAY)))
    assert planned(stale).bytes == 100 + 200 + 3 + 50 + 10


def test_what_is_not_understood_is_left_alone() -> None:
    for odd in (
        Cached("models--a--..", (), ()),
        Cached("datasets--a--b", (), ()),
        Cached("models--a b", (), ()),
        Cached(TINY.folder, TINY.revisions, TINY.blobs, link=True),
        Cached(TINY.folder, (Revision("main", (), frozenset()),), TINY.blobs),
        Cached(TINY.folder, TINY.revisions, (Blob("../x", 1, 0.0),)),
        Cached(TINY.folder, (Revision(OLD, ("../../x",), frozenset()),), ()),
    ):
        found = planned(odd)
        assert found.deletions == ()
        assert len(found.kept) == 1
        assert found.kept[0].why.endswith("left alone")


def test_only_what_was_just_seen_is_acted_on() -> None:
    for now in (1000.0 + FRESH + 1, 999.0):
        with pytest.raises(GcRefused, match="look again first"):
            plan(survey(TINY), [], in_use={}, now=now)
    with pytest.raises(GcRefused):
        script(planned(TINY), 1000.0 + FRESH + 1)
    for root in ("", "relative", "/", "/a/../b", "/a/$(id)", "/a\n", "/home/n/"):
        with pytest.raises(GcRefused):
            plan(survey(TINY, root=root), [], in_use={}, now=1000.0)
    with pytest.raises(GcRefused, match=r"workload x refers to '\.\./x'"):
        planned(TINY, refs=[Reference("../x", "workload x")])


@pytest.mark.parametrize(
    "path",
    ["", "/", ".", "..", "models--a/..", "models--a/../b", "models--a/blobs", "models--a/blobs/x", "models--a/snapshots/main",
     "models--a/refs/..", "models--a/refs/../../x", "models--a/refs", "models--a/x", "-rf", ".locks", ".locks/x", "blobs/" + X,
     "models--a/trees/x.json", "models--a/refs/-x", "models--a//", f"models--a/blobs/{X}\n", "models--", "models--a/refs/$(id)"],
)  # fmt: skip
def test_names_that_are_never_deleted(path: str) -> None:
    with pytest.raises(GcRefused):
        check_deletable(path)


HASHES = [f"{n:x}" * 40 for n in range(1, 9)]
COMMITS = [f"{n:x}" * 40 for n in range(9, 13)]


@given(
    st.dictionaries(st.sampled_from(COMMITS), st.frozensets(st.sampled_from(HASHES)), max_size=4),
    st.frozensets(st.sampled_from(HASHES)),
    st.lists(st.sampled_from([*COMMITS, "main", ""]), max_size=3),
    st.sampled_from([*COMMITS, ""]),
)
def test_what_stays_is_whole(
    links: dict[str, frozenset[str]], there: frozenset[str], wanted: list[str], main: str
) -> None:
    revisions = tuple(Revision(c, ("main",) if c == main else (), blobs) for c, blobs in links.items())
    cached = Cached(TINY.folder, revisions, tuple(Blob(b, 1, 9 * DAY) for b in sorted(there)))
    found = planned(cached, refs=[Reference("acme/tiny", "keep", revision) for revision in wanted])
    paths = [path for deletion in found.deletions for path in deletion.paths]
    assert len(paths) == len(set(paths))
    if cached.folder in paths:
        assert not wanted
        assert found.bytes == len(there)
        return
    assert wanted
    gone = {path.rpartition("/")[2] for path in paths}
    for revision in revisions:
        if revision.commit in wanted or (revision.refs and "main" in wanted):
            assert revision.commit not in gone
        if revision.commit not in gone:
            assert not revision.blobs & gone
    assert found.bytes == len(gone & there)
    assert split(script(found, 1000.0).splitlines()[-1]) == ("echo", "end")


# On a real disk


def real(root: Path) -> None:
    tiny = root / TINY.folder
    for folder in ("blobs", "refs", f"snapshots/{OLD}", f"snapshots/{NEW}", "trees"):
        (tiny / folder).mkdir(parents=True)
    for blob in TINY.blobs:
        (tiny / "blobs" / blob.name).write_bytes(b"x" * blob.size)
    for commit, blobs in ((OLD, (X, Z)), (NEW, (Y, Z))):
        for blob in blobs:
            (tiny / "snapshots" / commit / blob[:3]).symlink_to(f"../../blobs/{blob}")
    (tiny / "refs" / "main").write_text(NEW)
    (root / LONE.folder / "blobs").mkdir(parents=True)
    (root / ".locks" / LONE.folder).mkdir(parents=True)


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(found: GcPlan) -> str:
    text = guarded(script(found, 1000.0))
    return subprocess.run(["sh"], input=text, capture_output=True, text=True, check=True).stdout


def test_deleted_is_what_the_plan_names_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "my hub"
    real(root)
    (root / "models--another").mkdir()
    found = plan(survey(TINY, LONE, root=str(root)), [Reference("acme/tiny", "keep", "main")], in_use={}, now=1000.0)
    assert run(found) == "end\n"
    left = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_symlink() or not p.is_dir())
    assert left == [
        f"models--acme--tiny/blobs/{Y}", f"models--acme--tiny/blobs/{Z}", f"models--acme--tiny/blobs/{W}", "models--acme--tiny/refs/main",
        f"models--acme--tiny/snapshots/{NEW}/{Y[:3]}", f"models--acme--tiny/snapshots/{NEW}/{Z[:3]}",
    ]  # fmt: skip
    assert inside(root) == [".locks", "models--acme--tiny", "models--another"]
    assert inside(root / ".locks") == []
    assert run(found) == "end\n"  # twice does no harm


def test_no_command_goes_through_a_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "hub", tmp_path / "outside"
    real(outside)
    root.mkdir()
    (root / TINY.folder).symlink_to(outside / TINY.folder)  # after the survey, so that the plan does not know it
    (root / LONE.folder).symlink_to(outside / LONE.folder)
    before = sorted(str(p) for p in outside.rglob("*"))
    found = plan(survey(TINY, LONE, root=str(root)), [Reference("acme/tiny", "keep", "main")], in_use={}, now=1000.0)
    said = run(found).splitlines()
    assert f"skipped {TINY.folder}/snapshots: {root}/{TINY.folder} is a link" in said
    assert sorted(str(p) for p in outside.rglob("*")) == before
    assert inside(root) == [TINY.folder]  # the other was a link by itself, and only the link is gone
    real(root / "deep")
    snapshots = root / "deep" / TINY.folder / "snapshots"
    (tmp_path / "elsewhere").mkdir()
    snapshots.rename(tmp_path / "elsewhere" / "snapshots")
    snapshots.symlink_to(tmp_path / "elsewhere" / "snapshots")
    deep = plan(survey(TINY, root=str(root / "deep")), [Reference("acme/tiny", "keep", "main")], in_use={}, now=1000.0)
    run(deep)
    assert inside(tmp_path / "elsewhere" / "snapshots") == [OLD, NEW]


def test_a_file_that_a_staying_revision_leads_to_survives_a_look_that_missed_the_link(tmp_path: Path) -> None:
    real(tmp_path)
    missed = Cached(TINY.folder, (TINY.revisions[0], Revision(NEW, ("main",), frozenset({Y}))), TINY.blobs)
    found = plan(survey(missed, root=str(tmp_path)), [Reference("acme/tiny", "keep", "main")], in_use={}, now=1000.0)
    assert f"{TINY.folder}/blobs/{Z}" in found.deletions[0].paths
    blobs = tmp_path / TINY.folder / "blobs"
    assert run(found).splitlines() == [
        f"skipped {blobs / Z}: a revision that stays leads to it, or that could not be told", "end"
    ]  # fmt: skip
    assert inside(blobs) == [Y, Z, W]


def test_a_file_of_two_revisions_that_both_go_is_freed(tmp_path: Path) -> None:
    real(tmp_path)
    third = tmp_path / TINY.folder / "snapshots" / ("c" * 40)
    third.mkdir()
    cached = Cached(TINY.folder, (*TINY.revisions, Revision(third.name, (), frozenset())), TINY.blobs)
    found = plan(survey(cached, root=str(tmp_path)), [Reference("acme/tiny", "keep", "c" * 40)], in_use={}, now=1000.0)
    assert run(found) == "end\n"
    assert inside(tmp_path / TINY.folder / "blobs") == [W]
    assert inside(tmp_path / TINY.folder / "snapshots") == [third.name]
