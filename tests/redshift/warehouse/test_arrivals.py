"""Files of the drop zone, by a bookkeeping that is in Redshift."""

from datetime import UTC, datetime

from include.pipeline import steps
from include.pipeline.drop_zone import survey
from include.pipeline.partition import partition_of_run
from tests.redshift.warehouse.bench import Bench


def test_a_file_has_arrived_until_a_run_has_landed_it_and_again_once_it_is_another(bench: Bench) -> None:
    source = bench.source("driven")
    key = f"drop/{source.name}/sessions/a.csv"
    names = list(source.entities["session_files"].columns)
    partition = partition_of_run(
        source.partition_of("session_files"),
        asked=None,
        logical_date=None,
        run_after=datetime.now(UTC),
        is_scheduled=False,
    )

    def arrived() -> list[str]:
        found = survey({source.name: source}, bench.store, bench.dsn)
        assert found.strays == []
        return [file.uri for files in found.arrived.values() for file in files]

    for lines in (1, 2):
        content = "\n".join([",".join(names), *[",".join("7" for _ in names)] * lines])
        bench.s3.client.put_object(Bucket=bench.s3.bucket, Key=key, Body=content.encode())
        assert arrived() == [f"s3://{bench.s3.bucket}/{key}"]
        steps.fetch_files(
            source, "session_files", partition, {}, store=bench.store, dsn=bench.dsn, run_id=f"run{lines}"
        )
        assert arrived() == []
