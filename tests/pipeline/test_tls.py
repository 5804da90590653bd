"""TLS to the warehouse: what the connection's extra says reaches every driver, and a wrong certificate is refused.

The embedded PostgreSQL is built without TLS, so a front in this file ends it, as a pooler or a cloud's proxy does: it
answers the client's SSLRequest, does the handshake with a certificate made here, and hands on to the real server. Who
comes without TLS is turned away.
https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
"""

import contextlib
import datetime as dt
import ipaddress
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowException
from cosmos import ProfileConfig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.exc import OperationalError

from include.gates import Verdict, check_tables
from include.gates.rules import TableGate
from include.pipeline import connections
from include.pipeline.dbt_profile import WarehouseProfile
from include.warehouse import landings
from include.warehouse.load import LoadError, RawTable, create_table, load_batches, load_documents
from include.warehouse.publish import Mart, PublishError, publish
from include.warehouse.session import psycopg_session
from tests.conftest import Warehouse

PROJECT = Path(__file__).resolve().parents[2]
_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
RULE = {
    "expect_column_values_to_not_be_null": {"column": "id"},
    "on_failure": "fail",
    "why": "it is the key",
}


@dataclass(frozen=True)
class Secured:
    """A warehouse behind TLS, with a certificate of the CA in `ca`; `other` is another CA."""

    port: int
    ca: Path
    other: Path


class _Front(socketserver.ThreadingTCPServer):
    """Ends TLS before a PostgreSQL server."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Client)
        self.context, self.port = context, port


class _Client(socketserver.BaseRequestHandler):
    server: _Front

    def handle(self) -> None:
        if self.request.recv(8) != _SSL_REQUEST:
            return  # without TLS nobody is let in
        self.request.sendall(b"S")
        with (
            contextlib.suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self.server.port)) as behind,
        ):
            answers = threading.Thread(target=_hand_on, args=(behind, client))
            answers.start()
            _hand_on(client, behind)
            answers.join()


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _certificate(name, name, key, key, is_ca=True)


def _certificate(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signed_by: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signed_by, hashes.SHA256())
    )


def _pem(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def secured(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    ca_key, ca = _authority("Sluice test CA")
    _, other = _authority("Another CA")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for name, content in (
        ("ca.pem", _pem(ca)),
        ("other.pem", _pem(other)),
        ("server.pem", _pem(_certificate("localhost", "Sluice test CA", key, ca_key)) + private),
    ):
        (directory / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    with _Front(context, warehouse.port) as front:
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        yield Secured(front.server_address[1], directory / "ca.pem", directory / "other.pem")
        front.shutdown()
        thread.join()


Connect = Callable[..., None]


@pytest.fixture
def connect(secured: Secured, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Set the connections of the roles, with an extra of one's own."""

    def set_all(**extra: str) -> None:
        for role in (connections.LOADER, connections.TRANSFORMER, connections.GATE, connections.PUBLISHER):
            one = {
                "conn_type": "postgres", "host": "127.0.0.1", "port": secured.port, "login": role,
                "password": warehouse.password(role), "schema": warehouse.dbname, "extra": extra,
            }  # fmt: skip
            monkeypatch.setenv(f"AIRFLOW_CONN_{role.upper()}", json.dumps(one))

    return set_all


def book(dsn: str, landing_id: int) -> None:
    landings.register(
        dsn, landing_id=landing_id, source="shop", entity="things", partition="all", uri=f"s3://b/{landing_id}/",
        sha256="0", size=1, records=1, request={}, refused=[], fetched_at=dt.datetime.now(dt.UTC), dag_run_id="test",
    )  # fmt: skip


def load(dsn: str) -> None:
    """Both drivers: rows by Arrow's, documents by psycopg2."""
    things = RawTable("shop__things", "append", columns={"id": "bigint"})
    create_table(dsn, things)
    book(dsn, 1)
    rows = pa.table({"id": [7], "_landing_id": pa.array([1], pa.int64()), "_row": pa.array([0], pa.int64())})
    assert load_batches(dsn, things, 1, rows.to_reader()) == 1
    papers = RawTable("shop__papers", "append")
    create_table(dsn, papers)
    book(dsn, 2)
    assert load_documents(dsn, papers, 2, [(b"{}", None)]) == 1


def gate() -> Verdict:
    """What Great Expectations says of the rows, by SQLAlchemy."""
    layer = {"shop__things": TableGate.model_validate({"expect": [RULE]})}
    url = connections.warehouse_dsn(connections.GATE)
    return check_tables(layer, url=url, schema="raw", landing_ids=[1])


def dbt(profiles: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Dbt's own test of its connection."""
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("dbt")), "debug", "--connection", "--no-use-colors", "--project-dir",
            str(PROJECT / "dbt_project"), "--profiles-dir", str(profiles), "--log-path", str(profiles),
        ],
        env={name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")} | env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def profile_of_cosmos(folder: Path) -> tuple[Path, dict[str, str]]:
    """The profile that Cosmos makes of the connection, as its tasks use it."""
    mapping = WarehouseProfile(conn_id=connections.TRANSFORMER, profile_args={"schema": "marts", "threads": 1})
    config = ProfileConfig(profile_name="sluice", target_name="postgres", profile_mapping=mapping)
    with config.ensure_profile() as (path, env):
        shutil.copy(path, folder / "profiles.yml")
        return folder, dict(env)


def test_load_gate_publish_and_dbt_verify_the_server(secured: Secured, connect: Connect, tmp_path: Path) -> None:
    connect(sslmode="verify-full", sslrootcert=str(secured.ca))
    load(connections.warehouse_dsn(connections.LOADER))
    assert gate().passed
    with psycopg_session(connections.warehouse_dsn(connections.TRANSFORMER)) as session:
        session.execute("create table if not exists marts.things (id bigint primary key, _landing_id bigint)")
        session.execute("insert into marts.things values (7, 1)")
    dsn = connections.warehouse_dsn(connections.PUBLISHER)
    (done,) = publish(dsn, [Mart("things", ("id",))], source="shop", dag_run_id="test", landing_ids=[1])
    assert done.rows_inserted == 1
    folder, env = profile_of_cosmos(tmp_path)
    asked = dbt(folder, **env)
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_a_certificate_of_another_authority_is_refused_by_all(
    secured: Secured, connect: Connect, tmp_path: Path
) -> None:
    connect(sslmode="verify-full", sslrootcert=str(secured.other))
    loader = connections.warehouse_dsn(connections.LOADER)
    table = RawTable("shop__things", "append", columns={"id": "bigint"})
    rows = pa.table({"id": [7], "_landing_id": pa.array([1], pa.int64()), "_row": pa.array([0], pa.int64())})
    with pytest.raises(LoadError, match="certificate verify failed"):
        load_batches(loader, table, 1, rows.to_reader())
    with pytest.raises((LoadError, psycopg2.Error), match="certificate verify failed"):
        load_documents(loader, RawTable("shop__papers", "append"), 2, [(b"{}", None)])
    with pytest.raises(OperationalError, match="certificate verify failed"):
        gate()
    with pytest.raises((PublishError, psycopg2.Error), match="certificate verify failed"):
        publish(
            connections.warehouse_dsn(connections.PUBLISHER),
            [Mart("things", ("id",))],
            source="shop",
            dag_run_id="test",
            landing_ids=[1],
        )
    folder, env = profile_of_cosmos(tmp_path)
    asked = dbt(folder, **env)
    assert asked.returncode != 0
    assert "certificate verify failed" in asked.stdout + asked.stderr


@pytest.mark.parametrize(("authority", "code"), [("ca", 0), ("other", 1)])
def test_profiles_yml_takes_tls_from_the_environment(
    secured: Secured, warehouse: Warehouse, tmp_path: Path, authority: str, code: int
) -> None:
    shutil.copy(PROJECT / "dbt_project" / "profiles.yml", tmp_path)
    asked = dbt(
        tmp_path,
        SLUICE_DBT_HOST="localhost",
        SLUICE_DBT_PORT=str(secured.port),
        SLUICE_DBT_PASSWORD=warehouse.password(connections.TRANSFORMER),
        SLUICE_DBT_SSLMODE="verify-full",
        SLUICE_DBT_SSLROOTCERT=str(getattr(secured, authority)),
    )
    assert asked.returncode == code, asked.stdout + asked.stderr


def test_an_option_that_is_none_is_refused_by_name(connect: Connect) -> None:
    connect(sslmod="verify-full")
    with pytest.raises(
        AirflowException, match=r"'sluice_loader': its extra has 'sslmod', which is not one of .*sslmode"
    ):
        connections.warehouse_dsn(connections.LOADER)
