"""Where the mods folder is looked for."""

from __future__ import annotations

from pathlib import Path

from api.assemble import mods_places
from api.folder import DataFolder


def test_where_it_is_said_to_be_or_with_the_desired_state_or_in_the_data_folder(tmp_path: Path) -> None:
    folder, file, many = DataFolder(tmp_path / "data"), tmp_path / "here" / "desired.yaml", tmp_path / "many"
    many.mkdir()
    assert mods_places(file, folder, {}) == (tmp_path / "here" / "mods", tmp_path / "data" / "mods")
    assert mods_places(many, folder, {"SPARKKEEP_MODS": ""}) == (
        *(many / "mods", tmp_path / "mods"),
        tmp_path / "data" / "mods",
    )
    assert mods_places(file, folder, {"SPARKKEEP_MODS": str(tmp_path / "own")}) == (tmp_path / "own",)
