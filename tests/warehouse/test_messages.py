"""What a load says when the database refuses it holds nothing of the rows."""

import traceback
from collections.abc import Callable

import pyarrow as pa
import pytest

from include.warehouse.load import LoadError, RawTable, create_table, load_batches
from tests.conftest import Warehouse

EMAIL = "ana.pop@mail.example"


def told(fault: BaseException) -> str:
    """All that a task's log would show of it."""
    return "".join(traceback.format_exception(fault))


def test_a_row_that_its_table_refuses_is_not_quoted(warehouse: Warehouse, book: Callable[..., int]) -> None:
    dsn = warehouse.dsn("sluice_loader")
    table = RawTable("shop__people", "upsert", columns={"id": "bigint", "email": "text"}, keys=("id",))
    create_table(dsn, table)
    landing = book()
    given = {
        "id": pa.array([1], pa.int64()),
        "email": [EMAIL],
        "_landing_id": pa.array([landing], pa.int64()),
        "_row": pa.array([None], pa.int64()),
    }
    with pytest.raises(LoadError, match=r"shop__people: landing \d+ was not loaded") as raised:
        load_batches(dsn, table, landing, pa.table(given).to_reader())
    assert EMAIL not in told(raised.value)
