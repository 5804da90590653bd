"""A gate's verdict into the warehouse, and onto the pages that show it, on either engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from include.gates import record, redshift, write_data_docs
from include.warehouse.session import engine_of, redshift_session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from include.gates import Verdict
    from include.gates.rules import LayerName


def keep(
    dsn: str,
    verdict: Verdict,
    *,
    source: str,
    layer: LayerName,
    dag_run_id: str,
    landing_ids: Sequence[int],
    docs_uri: str,
    s3: S3Client | None = None,
) -> None:
    """Book a verdict in ops.gate_result, then write the Data Docs.

    Args:
        dsn: URI of `sluice_gate`.
        verdict: failed or passed.
        source: name of the source.
        layer: the layer that was judged.
        dag_run_id: the run.
        landing_ids: the run's landings.
        docs_uri: where the pages go.
        s3: the client for an `s3://` URI.
    """
    if engine_of(dsn) == "redshift":
        with redshift_session(dsn) as session:
            redshift.record(
                session, verdict, source=source, layer=layer, dag_run_id=dag_run_id, landing_ids=landing_ids
            )
        with redshift_session(dsn) as session:
            redshift.write_data_docs(session, docs_uri, s3=s3)
        return
    import psycopg2

    with closing(psycopg2.connect(dsn)) as connection:
        record(connection, verdict, source=source, layer=layer, dag_run_id=dag_run_id, landing_ids=landing_ids)
        write_data_docs(connection, docs_uri, s3=s3)
