"""Landings made by hand, and their load into Redshift."""

import io
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.landing import LandingStore, LandingWriter
from include.pipeline import steps
from include.pipeline.model import Source, load_source
from include.warehouse.fence import Fence
from tests.conftest import S3
from tests.redshift.warehouse.conftest import Warehouse

_numbers = itertools.count(1)


class Bench:
    """Landings made by hand, and their load as the pipeline does it."""

    def __init__(self, s3: S3, warehouse: Warehouse) -> None:
        self.store = LandingStore(s3.client, s3.bucket)
        self.s3 = s3
        self.warehouse = warehouse
        self.dsn = warehouse.dsn("sluice_loader")
        self.suffix = next(_numbers)

    def source(self, name: str, **entities: dict[str, Any]) -> Source:
        """A source as it is, under a name of its own, but for what its entities are said to have otherwise."""
        content = load_source(name).model_dump(by_alias=True)
        content["name"] = f"{name}_{self.suffix}"
        for entity, change in entities.items():
            content["entities"][entity] |= change
        return Source.model_validate(content)

    def land(
        self, source: Source, entity: str, fill: Callable[[LandingWriter], object], partition: str = "2024-01"
    ) -> steps.Landing:
        with self.store.begin(
            source=source.name,
            entity=entity,
            partition=partition,
            run_id=f"run{next(_numbers)}",
            format=source.entities[entity].format,
        ) as writer:
            fill(writer)
            writer.seal()
            manifest = writer.commit({"is_whole": True})
        steps.book(self.dsn, manifest)
        return steps.Landing(landing_id=manifest.landing_id, entity=entity, partition=partition, uri=manifest.uri)

    def load(self, source: Source, *landed: steps.Landing, fence: Fence | None = None) -> int:
        return steps.load(source, landed[0]["entity"], landed, store=self.store, dsn=self.dsn, fence=fence)

    def rows(self, query: str) -> list[Any]:
        return self.warehouse.ask(query)

    def loaded_rows(self, landing: steps.Landing) -> Any:  # noqa: ANN401 - a number, or none
        ((rows,),) = self.rows(f"select loaded_rows from ops.landing where landing_id = {landing['landing_id']}")
        return rows

    def scratch(self) -> int:
        return int(self.s3.client.list_objects_v2(Bucket=self.s3.bucket, Prefix="scratch/").get("KeyCount", 0))


def documents(*records: dict[str, object], **values: str) -> Callable[[LandingWriter], object]:
    def fill(writer: LandingWriter) -> None:
        for one in records:
            writer.add_document(json.dumps(one).encode(), values=values or None)

    return fill


def trips(rows: int, **columns: pa.Array) -> Callable[[LandingWriter], object]:
    """A Parquet file of green trips with every declared column."""
    declared = load_source("tlc").entities["green_trips"].columns
    made: dict[str, pa.Array] = {}
    for name, kind in declared.items():
        values: Sequence[object] = range(rows)
        types = {"bigint": pa.int64(), "double": pa.float64(), "text": pa.string(), "timestamp": pa.timestamp("us")}
        array = pa.array(
            [str(one) for one in values] if kind == "text" else values,
            pa.int64() if kind == "timestamp" else types[kind],
        )
        made[name] = array.cast(types[kind])
    file = io.BytesIO()
    pq.write_table(pa.table(made | columns), file)
    return lambda writer: writer.add_file(iter([file.getvalue()]), "parquet")
