"""The store with real files. No test depends on how fast the machine is: each waits for what must come."""

import asyncio
import contextlib

import pytest

from state.journal import Journal
from state.problems import Invalid
from state.sources import RecipeFile
from state.store import DesiredStore

SPARKS = "sparks: {s: {host: a}}\n"
ONE = SPARKS + "models: {m: {recipe: {image: a}, on: s}}\n"
TWO = SPARKS + "models: {m: {recipe: {image: b}, on: s}, n: {recipe: {image: c}, on: s}}\n"
BROKEN = SPARKS + "models: {m: {recipe: {image: b}, on: x}}\n"
LONG = 45


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "desired" / "desired.yaml"
    path.parent.mkdir()
    path.write_text(ONE)
    return path


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


def store_of(path, journal, **more):
    more = {"settle": 0.01, "reread": 3600.0} | more
    return DesiredStore(path, generations=journal, **more)


def replace(path, text):
    """As editors and git do it."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


@contextlib.asynccontextmanager
async def running(store):
    """The store, following its files; ready once its watch stands."""
    looked = asyncio.Event()
    look = store._look

    async def seen(**settle):
        result = await look(**settle)
        looked.set()
        return result

    store._look = seen
    async with store, asyncio.timeout(LONG):
        await looked.wait()
        yield store


async def until(store, condition):
    async with asyncio.timeout(LONG):
        with store.subscribe() as follower:
            while not condition():
                await follower.wait()


# Without watching: what one look makes of the files


async def test_open_and_reload(file, journal):
    store = store_of(file, journal)
    first = await store.open()
    assert (first.generation, store.generation_of("m")) == (1, 1)
    assert first.revision == f"sha256:{first.loaded.digest[:12]}"
    assert not await store.reload()
    assert store.current is first
    file.write_text(TWO)
    assert await store.reload()
    assert store.current.generation == 2
    assert store.generations_of() == {"m": 2, "n": 1}
    file.write_text(TWO.replace("image: c", "image: d"))
    await store.reload()
    assert store.generations_of() == {"m": 2, "n": 2}


async def test_comments_raise_no_generation_and_wake_nobody(file, journal):
    store = store_of(file, journal)
    first = await store.open()
    with store.subscribe() as follower:
        file.write_text("# a comment\n" + ONE + "\n\n")
        assert not await store.reload()
        assert not await follower.wait(0.05)
    assert (store.current.generation, store.current.revision) == (1, first.revision)
    assert store.current.since == first.since


async def test_back_to_an_earlier_state_is_a_new_generation(file, journal):
    store = store_of(file, journal)
    first = await store.open()
    file.write_text(TWO)
    await store.reload()
    file.write_text(ONE)
    await store.reload()
    assert store.current.generation == 3
    assert store.current.revision == first.revision


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: f.write_text(BROKEN), "models.m.on"),
        (lambda f: f.write_text(ONE[:-5]), "desired.yaml:"),
        (lambda f: f.unlink(), "there is no such file"),
        (lambda f: (f.unlink(), f.parent.rmdir()), "there is no such file"),
        (lambda f: (f.unlink(), f.mkdir()), r"holds no .yaml file"),
        (lambda f: f.write_bytes(b"\xff"), "UTF-8"),
    ],
)
async def test_what_is_invalid_or_gone_never_comes_into_force(file, journal, spoil, said):
    store = store_of(file, journal)
    first = await store.open()
    spoil(file)
    with store.subscribe() as follower:
        assert not await store.reload()
        assert await follower.wait(LONG)
        since = store.since
        assert since is not None
        assert store.current is first
        assert said in str(store.problems[0])
        assert not await store.reload()
        assert store.since == since
        assert not await follower.wait(0.01)
    if file.is_dir():
        file.rmdir()
    file.parent.mkdir(exist_ok=True)
    file.write_text(ONE)
    with store.subscribe() as follower:
        assert not await store.reload()
        assert await follower.wait(LONG)
    assert (store.problems, store.since) == ((), None)
    assert store.current.generation == 1


async def test_the_very_same_invalid_text_is_judged_once(file, journal, monkeypatch):
    import state.store as module

    judged = []
    judge = module.load_sources
    monkeypatch.setattr(module, "load_sources", lambda *files: judged.append(1) or judge(*files))
    store = store_of(file, journal)
    await store.open()
    for _ in range(3):
        await store.reload()
    assert len(judged) == 1
    file.write_text(BROKEN)
    for _ in range(3):
        await store.reload()
    assert len(judged) == 2


@pytest.mark.parametrize("nothing", ["", "\n\n", "# all gone\n---\n"])
async def test_a_file_cut_to_nothing_does_not_count_now_nor_after_a_restart(file, journal, nothing):
    store = store_of(file, journal)
    await store.open()
    file.write_text(nothing)
    assert not await store.reload()
    assert "there is nothing in it" in store.problems[0].message
    again = store_of(file, journal)
    await again.open()
    assert again.current.loaded.resolved == store.current.loaded.resolved != {}
    assert again.problems


async def test_nothing_can_be_declared_in_so_many_words(file, journal):
    store = store_of(file, journal)
    await store.open()
    file.write_text("sparks: {}\n")
    assert await store.reload()
    assert store.current.loaded.resolved == {}
    assert store.current.generation == 2


async def test_a_first_file_may_be_empty(file, journal):
    file.write_text("")
    store = store_of(file, journal)
    await store.open()
    assert store.current.loaded.resolved == {}


async def test_a_folder_with_two_files(tmp_path, journal):
    folder = tmp_path / "desired"
    folder.mkdir()
    (folder / "a.yaml").write_text(SPARKS)
    (folder / "b.yaml").write_text("models: {m: {recipe: {image: a}, on: s}}")
    store = store_of(folder, journal)
    await store.open()
    assert list(store.current.loaded.resolved) == ["m"]
    (folder / "c.yaml").write_text("models: {m: {recipe: {image: z}, on: s}}")
    await store.reload()
    assert "stands twice" in store.problems[0].message
    (folder / "c.yaml").write_text("models: {n: {recipe: {image: z}, on: s}}")
    await store.reload()
    assert list(store.current.loaded.resolved) == ["m", "n"]
    for path in folder.iterdir():
        path.unlink()
    await store.reload()
    assert "holds no .yaml file" in store.problems[0].message
    assert list(store.current.loaded.resolved) == ["m", "n"]


async def test_a_recipe_that_changes_changes_who_uses_it(file, journal, tmp_path):
    recipes = tmp_path / "models.yaml"
    recipes.write_text("recipes: {r: {image: a}}")
    over = RecipeFile(tmp_path / "over.yaml", required=False)
    file.write_text(SPARKS + "models: {m: {recipe: r, on: s}, n: {recipe: {image: x}, on: s}}")
    store = store_of(file, journal, recipes=[recipes, over])
    await store.open()
    over.path.write_text("recipes: {r: {image: b}}")
    assert await store.reload()
    assert store.generations_of() == {"m": 2, "n": 1}
    assert store.current.loaded.resolved["m"].recipe.image == "b"
    over.path.write_text("recipes: {r: {image: b}, unused: {image: c}}")
    assert not await store.reload()
    assert "unused" in store.current.loaded.recipes
    recipes.unlink()
    await store.reload()
    assert "no such file" in str(store.problems[0])


# Restarts


async def test_generations_survive_a_restart(file, tmp_path):
    path = tmp_path / "j.db"
    journal = Journal(path)
    store = store_of(file, journal)
    await store.open()
    file.write_text(TWO)
    await store.reload()
    journal.close()
    journal = Journal(path)
    store = store_of(file, journal)
    assert (await store.open()).generation == 2
    assert store.generations_of() == {"m": 2, "n": 1}
    journal.close()
    file.write_text(ONE)
    journal = Journal(path)
    store = store_of(file, journal)
    assert (await store.open()).generation == 3
    assert store.generation_of("m") == 3
    journal.close()


async def test_a_broken_file_at_the_first_start_is_refused(file, journal):
    file.write_text(BROKEN)
    with pytest.raises(Invalid, match=r"models\.m\.on"):
        await store_of(file, journal).open()


async def test_a_broken_file_at_a_later_start_does_not_stop_the_fleet(file, tmp_path):
    path = tmp_path / "j.db"
    recipes = tmp_path / "models.yaml"
    recipes.write_text("recipes: {r: {image: a}}")
    file.write_text(SPARKS + "models: {m: {recipe: r, on: s}}")
    journal = Journal(path)
    good = await store_of(file, journal, recipes=[recipes]).open()
    journal.close()
    for spoil in (lambda: file.write_text(BROKEN), recipes.unlink, file.unlink):
        spoil()
        journal = Journal(path)
        store = store_of(file, journal, recipes=[recipes])
        current = await store.open()
        assert (current.revision, current.generation) == (good.revision, good.generation)
        assert current.loaded.resolved["m"].recipe.image == "a"
        assert store.problems
        assert not await store.reload()
        journal.close()


async def test_what_was_good_elsewhere_is_not_taken_for_this_file(file, journal, tmp_path):
    await store_of(file, journal).open()
    other = tmp_path / "other.yaml"
    other.write_text(BROKEN)
    with pytest.raises(Invalid):
        await store_of(other, journal).open()


async def test_a_good_state_that_is_no_longer_valid_is_not_used(file, journal):
    from state.sources import Good, Source

    journal.save_good(Good(str(file), "sha256:1", (Source("d", b"nonsense: 1"),), ()))
    file.write_text(BROKEN)
    with pytest.raises(Invalid, match=r"models\.m\.on"):
        await store_of(file, journal).open()


# Half-written files


async def test_a_file_that_still_moves_is_not_believed(file, journal, monkeypatch):
    store = store_of(file, journal)
    await store.open()
    read, texts = store._read, [ONE[:10], "", SPARKS, TWO, TWO]

    async def reading():
        if texts:
            file.write_text(texts.pop(0))
        return await read()

    monkeypatch.setattr(store, "_read", reading)
    with store.subscribe() as follower:
        assert await store._look(settle=0.001)
        assert await follower.wait(LONG)
    assert store.current.generation == 2
    assert list(store.current.loaded.resolved) == ["m", "n"]


async def test_a_file_that_never_holds_still_changes_nothing(file, journal, monkeypatch):
    store = store_of(file, journal)
    await store.open()
    read, number = store._read, iter(range(1_000_000))

    async def reading():
        file.write_text(ONE + f"# {next(number)}\n")
        return await read()

    monkeypatch.setattr(store, "_read", reading)
    assert not await store._look(settle=0.0001)
    assert not store.problems


async def test_a_file_that_is_deleted_and_written_anew_is_no_problem(file, journal, monkeypatch):
    store = store_of(file, journal)
    await store.open()
    read, acts = store._read, [file.unlink, lambda: file.write_text(TWO)]

    async def reading():
        if acts:
            acts.pop(0)()
        return await read()

    monkeypatch.setattr(store, "_read", reading)
    said = []
    refuse = store._refuse
    monkeypatch.setattr(store, "_refuse", lambda invalid: (said.append(invalid), refuse(invalid)))
    assert await store._look(settle=0.001)
    assert not said


# Watching


async def test_the_watch_sees_writes_renames_deletes_and_repairs(file, journal):
    async with running(store_of(file, journal)) as store:
        file.write_text(TWO)
        await until(store, lambda: store.current.generation == 2)
        replace(file, ONE)
        await until(store, lambda: store.current.generation == 3)
        replace(file, BROKEN)
        await until(store, lambda: store.problems)
        assert store.current.generation == 3
        replace(file, TWO)
        await until(store, lambda: store.current.generation == 4)
        assert not store.problems
        file.unlink()
        await until(store, lambda: store.problems)
        file.write_text(TWO)
        await until(store, lambda: not store.problems)
        assert store.current.generation == 4


async def test_the_watch_sees_a_folder(tmp_path, journal):
    folder = tmp_path / "desired"
    folder.mkdir()
    (folder / "a.yaml").write_text(ONE)
    async with running(store_of(folder, journal)) as store:
        (folder / "b.yaml").write_text("models: {n: {recipe: {image: c}, on: s}}")
        await until(store, lambda: store.current.generation == 2)
        (folder / "b.yaml").unlink()
        await until(store, lambda: store.current.generation == 3)
        folder.rename(tmp_path / "away")
        await until(store, lambda: store.problems)
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "a.yaml").write_text(TWO)
        (tmp_path / "new").rename(folder)
        await until(store, lambda: store.current.generation == 4)
        assert list(store.current.loaded.resolved) == ["m", "n"]


async def test_the_watch_follows_links_as_kubernetes_uses_them(tmp_path, journal):
    for name, text in (("v1", ONE), ("v2", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "desired.yaml").write_text(text)
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "..data").symlink_to(tmp_path / "v1")
    (mount / "desired.yaml").symlink_to("..data/desired.yaml")
    async with running(store_of(mount / "desired.yaml", journal)) as store:
        (mount / "..new").symlink_to(tmp_path / "v2")
        (mount / "..new").rename(mount / "..data")
        await until(store, lambda: store.current.generation == 2)


async def test_the_regular_look_finds_what_the_watch_lost(file, journal, monkeypatch):
    import state.watch as module

    async def blind(_folders, breath):
        while True:
            await asyncio.sleep(breath)
            yield set()

    monkeypatch.setattr(module, "_stirs", blind)
    store = store_of(file, journal, reread=0.05)
    async with store:
        file.write_text(TWO)
        await until(store, lambda: store.current.generation == 2)


async def test_where_watching_is_refused_looking_goes_on(file, journal, monkeypatch):
    import state.watch as module

    def refused(*_args, **_more):
        raise OSError("no inotify watches left")

    monkeypatch.setattr(module, "awatch", refused)
    async with store_of(file, journal, reread=0.05) as store:
        file.write_text(TWO)
        await until(store, lambda: store.current.generation == 2)


async def test_a_database_beside_the_file_wakes_nobody(file, journal):
    store = store_of(file, journal)
    async with running(store):
        looks = []
        seen = store._look
        store._look = lambda **settle: looks.append(1) or seen(**settle)
        for number in range(5):
            (file.parent / "journal.db-wal").write_text(str(number))
            await asyncio.sleep(0.02)
        file.write_text(TWO)
        await until(store, lambda: store.current.generation == 2)
        assert 1 <= len(looks) <= 3


async def test_stop_ends_the_watching_and_leaves_no_task(file, journal):
    store = store_of(file, journal)
    await store.start()
    before = asyncio.all_tasks()
    await store.stop()
    await store.stop()
    assert len(asyncio.all_tasks()) == len(before) - 1
    file.write_text(TWO)
    await asyncio.sleep(0.05)
    assert store.current.generation == 1


async def test_a_store_that_is_not_open_says_so(file, journal):
    with pytest.raises(RuntimeError, match="not open"):
        store_of(file, journal).current  # noqa: B018
