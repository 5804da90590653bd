"""Airflow connections -> what the rooms take as arguments. Secrets come from here and from nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from include.extract import Api, base_url_of
from include.pipeline.model import Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from include.landing import LandingStore
    from include.pipeline.lake import Lake
    from include.pipeline.mirror import Mirror
    from include.warehouse.session import Engine

LOADER, TRANSFORMER, GATE, PUBLISHER = "sluice_loader", "sluice_transformer", "sluice_gate", "sluice_publisher"
REPORTER = "sluice_reporter"
"""sees what analysts see, and nothing more: what leaves the warehouse is read by it"""
REDSHIFT = "sluice_redshift"
S3 = "sluice_s3"


# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_OPTIONS = frozenset(
    [
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslcrl",
        "sslcrldir",
        "ssl_min_protocol_version",
        "channel_binding",
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "application_name",
        "options",
        "target_session_attrs",
    ]
)
"""What a warehouse connection's extra may hold: TLS, and how patiently it is connected"""

# https://github.com/aws/amazon-redshift-python-driver, and COPY's own
_REDSHIFT_OPTIONS = frozenset(["iam_role", "region", "sslmode"])
"""What one to Redshift may hold: the role of COPY, the region of the bucket, TLS"""

_ENGINES: tuple[Engine, ...] = ("postgres", "redshift")


def engine() -> Engine:
    """The warehouse's engine, as the environment's `SLUICE_WAREHOUSE` says; postgres where it says nothing."""
    said = os.environ.get("SLUICE_WAREHOUSE") or "postgres"
    for one in _ENGINES:
        if said == one:
            return one
    raise AirflowException(f"SLUICE_WAREHOUSE is {said!r}, which is not one of {', '.join(_ENGINES)}; correct it")


def warehouse_dsn(connection_id: str) -> str:
    """The postgresql:// or redshift:// URI of a warehouse connection, its options and its password included.

    Never log it.
    """
    connection = _warehouse(connection_id)
    options = connection.extra_dejson
    allowed = _REDSHIFT_OPTIONS if engine() == "redshift" else _OPTIONS
    if unknown := sorted(set(options) - allowed):  # a misspelt sslmode would be no TLS at all
        raise AirflowException(
            f"connection {connection_id!r}: its extra has {unknown[0]!r}, which is not one of "
            f"{', '.join(sorted(allowed))}; correct it or take it out"
        )
    address = connection.get_uri().split("://", 1)[1].partition("?")[0]
    query = urlencode({name: str(value) for name, value in options.items()})
    scheme = "redshift" if engine() == "redshift" else "postgresql"
    return f"{scheme}://{address}" + (f"?{query}" if query else "")


def warehouse_address(connection_id: str) -> str:
    """Where a warehouse connection leads, without who goes there: `postgres://host:port/database`, or redshift://."""
    connection = _warehouse(connection_id)
    port = connection.port or (5439 if engine() == "redshift" else 5432)
    return f"{engine()}://{connection.host}:{port}/{connection.schema}"


def s3_client() -> S3Client:
    """A client of S3 through the connection `sluice_s3`."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    _connection(S3)
    client: S3Client = S3Hook(aws_conn_id=S3).get_conn()
    return client


def landing_store() -> LandingStore:
    """The landings in the bucket `SLUICE_BUCKET`."""
    from include.landing import LandingStore  # with pyarrow: no parse of a DAG needs it

    return LandingStore(s3_client(), os.environ.get("SLUICE_BUCKET", "sluice-lake"))


def lake() -> Lake:
    """The lake: the bucket `SLUICE_BUCKET`, the Glue database `SLUICE_LAKE_DATABASE`, read from the warehouse masked.

    Glue is reached by the connection of S3; where one of them has an address of its own, its extra says so:
    `{"service_config": {"s3": {"endpoint_url": …}, "glue": {"endpoint_url": …}}}`.
    """
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    from include.lake import Catalogue
    from include.parquet import Bucket
    from include.pipeline.lake import Lake

    store = landing_store()
    glue = AwsBaseHook(aws_conn_id=S3, client_type="glue").get_conn()
    return Lake(
        Bucket(store.client, store.bucket),
        Catalogue(glue, os.environ["SLUICE_LAKE_DATABASE"]),
        warehouse_dsn(REPORTER),
    )


def mirror() -> Mirror:
    """Redshift behind the connection `sluice_redshift`, whose extra names the role of COPY: `{"iam_role": "arn:…"}`."""
    from include.parquet import Bucket
    from include.pipeline.mirror import Mirror
    from include.warehouse.mirror import Redshift

    connection, store = _connection(REDSHIFT), landing_store()
    options = connection.extra_dejson
    if not options.get("iam_role") or set(options) - {"iam_role", "region", "ssl"}:
        raise AirflowException(
            f"connection {REDSHIFT!r}: its extra must be iam_role (whom COPY reads S3 as), and may have region and ssl"
        )
    return Mirror(
        Bucket(store.client, store.bucket),
        Redshift(
            host=connection.host or "",
            port=connection.port or 5439,
            database=connection.schema or "",
            user=connection.login or "",
            password=connection.password or "",
            iam_role=options["iam_role"],
            region=options.get("region"),
            ssl=bool(options.get("ssl", True)),
        ),
        warehouse_dsn(REPORTER),
    )


def api_of(source: Source) -> Api:
    """The API behind the source's HTTP connection: host and port are its address, the password is its key."""
    connection = _connection(source.connection)
    if source.auth and not connection.password:
        raise AirflowException(
            f"connection {source.connection!r}: it has no password, and the API of {source.name} wants a key; "
            "put the key into the connection's password"
        )
    limit = connection.extra_dejson.get("calls_per_minute", source.calls_per_minute)
    return Api(
        connection=source.connection,
        base_url=base_url_of(connection.schema, connection.host or "", connection.port),
        key=connection.password if source.auth else None,
        key_in=source.auth.place if source.auth else "none",
        key_name=source.auth.name if source.auth else "",
        key_prefix=source.auth.prefix if source.auth else "",
        # each fetch is a process of its own, and may be on another machine: what all keep together is a share each
        calls_per_minute=max(1, int(limit) // source.fetched_at_once) if limit else None,
        timeout_seconds=source.timeout_seconds,
        retries=source.tries - 1,
        longest_wait_seconds=source.longest_wait_seconds,
        max_bytes=source.max_megabytes * 1024 * 1024,
        allowed_hosts=source.allowed_hosts,
    )


def _warehouse(connection_id: str) -> Connection:
    """A warehouse connection, which has to be of the engine that the environment names."""
    connection = _connection(connection_id)
    if (connection.conn_type == "redshift") != (engine() == "redshift"):
        raise AirflowException(
            f"connection {connection_id!r} is of the type {connection.conn_type}, and SLUICE_WAREHOUSE is {engine()}: "
            "correct one of them (docs/redshift.md)"
        )
    return connection


def _connection(connection_id: str) -> Connection:
    try:
        connection: Connection = Connection.get(connection_id)
    except AirflowNotFoundException:
        raise AirflowException(
            f"connection {connection_id!r} is not defined; add it under Admin > Connections, in a secrets backend, "
            f"or as AIRFLOW_CONN_{connection_id.upper()} (README: Go live)"
        ) from None
    return connection
