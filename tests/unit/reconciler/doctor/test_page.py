"""docs/DOCTOR.md holds every check, as the code has it."""

from reconciler.doctor.page import PAGE, table


def test_the_page_holds_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith(table()), "run `make schema`"


def test_make_schema_writes_it() -> None:
    makefile = (PAGE.parents[1] / "Makefile").read_text(encoding="utf-8")
    assert "\t.venv/bin/python -m reconciler.doctor.page" in makefile.partition("\nschema:")[2].partition("\n\n")[0]
