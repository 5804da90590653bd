"""docs/redshift-parity.md: the tables of both engines side by side. The test run writes it (SLUICE_REDRAW=1)."""

from collections.abc import Sequence
from pathlib import Path

from tests.redshift.both import EXCEPTED, Compared

PAGE = Path(__file__).resolve().parents[2] / "docs" / "redshift-parity.md"

_HEAD = """\
# PostgreSQL and Redshift, table by table

Made by `SLUICE_REDRAW=1 ./sluice test tests/redshift/test_models.py`. Do not edit it by hand.

The five sources are landed once, on two days, and loaded into both warehouses; dbt builds all models on each, day by
day. Then every table is compared row by row: the same columns, as many rows, every value equal, null where the other
is null. Redshift is the [front of the tests](redshift.md), not a cluster.

Not compared:

{excepted}

| table | rows | columns | nulls | differences |
|---|---:|---:|---:|---|
"""


def page(compared: Sequence[Compared]) -> str:
    """The page's text."""
    lines = [
        f"| {one.table} | {one.rows} | {one.columns} | {one.nulls} | {'; '.join(one.differences) or 'none'} |\n"
        for one in compared
    ]
    rows, values = sum(one.rows for one in compared), sum(one.rows * one.columns for one in compared)
    differing = sum(bool(one.differences) for one in compared)
    total = f"Tables: {len(compared)}. Rows: {rows}. Values: {values}. Tables that differ: {differing}."
    excepted = "\n".join(f"- `{column}`: {why}." for column, why in EXCEPTED.items())
    return f"{_HEAD.format(excepted=excepted)}{''.join(lines)}\n{total}\n"


def tables(text: str) -> dict[str, str]:
    """Table -> its differences, as the page has them."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| marts.")]
    cells += [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| staging.")]
    return {row[0]: row[4] for row in cells}
