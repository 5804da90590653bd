"""docs/reliability.md names what the tests try, and says of all of it that it was tried."""

from tests.faults.mutations import MUTATIONS, PROJECT
from tests.faults.page import HEADINGS, LAYERS, PAGE, SOURCES, cells
from tests.faults.points import POINTS, SERVERS, SUBJECTS


def test_the_page_names_exactly_the_points_that_the_tests_try() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert list(cells(text, HEADINGS["kill"])) == list(POINTS)
    assert list(cells(text, HEADINGS["gate"])) == list(LAYERS)
    assert list(cells(text, HEADINGS["server"])) == list(SERVERS)
    assert list(cells(text, HEADINGS["broken"])) == list(MUTATIONS)
    assert tuple(of.source for of in SUBJECTS) == SOURCES


def test_no_fault_of_the_page_lost_or_doubled_a_row_and_no_broken_build_was_missed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    marks = [
        mark for kind in ("kill", "gate", "server") for row in cells(text, HEADINGS[kind]).values() for mark in row
    ]
    assert set(marks) == {"survived"}
    assert {row[1] for row in cells(text, HEADINGS["broken"]).values()} == {"caught"}
    assert f"Faults tried: {len(marks)}. Survived: {len(marks)}. Lost rows: 0. Duplicates: 0." in text


def test_what_the_broken_builds_take_out_is_still_in_the_product() -> None:
    for name, mutation in MUTATIONS.items():
        assert (PROJECT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1, name
