"""`./sluice quarantine list | show | redrive` on a real warehouse: what is told, what is masked, what is refused."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.warehouse import landings
from include.warehouse.quarantine import Held, hold
from include.warehouse.session import psycopg_session
from local import quarantine
from local.home import Home, LocalError
from tests.conftest import Warehouse

LANDING = 1_795_000_000_000_001
REASON = {
    "layer": "raw",
    "rule": "expect_column_values_to_not_be_null",
    "column": "iban",
    "message": "driven__session_files.iban is null: a session without one of them is none",
}
PAYLOAD = {"unique_id": "u-1", "person_name": "Ana Pop", "email": None, "consumed_traffic": 12}


@pytest.fixture(scope="module")
def home(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The state of a stack whose PostgreSQL is the tests' and whose Airflow is down; a landing with two held rows."""
    loader = warehouse.dsn("sluice_loader")
    landings.register(
        loader,
        landing_id=LANDING,
        source="driven",
        entity="session_files",
        partition="2026-11-21",
        uri="s3://lake/landing/driven/session_files/dt=2026-11-21/run=1/",
        sha256="0",
        size=1,
        records=10,
        request={},
        refused=[],
        fetched_at=datetime(2026, 11, 21, tzinfo=UTC),
        dag_run_id="scheduled__1",
    )
    parser = REASON | {"layer": "load", "rule": "parser", "column": None, "message": "has 3 fields, not 20"}
    with psycopg_session(loader) as session:
        rows = [Held(7, json.dumps(PAYLOAD), None, None, [REASON]), Held(9, None, "Ana Pop;x", None, [parser])]
        hold(session, "driven__session_files", LANDING, rows, dag_run_id="scheduled__1")
    return Home(
        tmp_path_factory.mktemp("home"),
        secrets={"postgres_superuser": warehouse.server.password, "postgres_operator": warehouse.password("operator")},
        ports={"postgres": warehouse.port},
        state={},
    )


def test_the_list_has_a_line_a_landing(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert quarantine.listed(home, None) == 0
    *_, line = capsys.readouterr().out.splitlines()
    for said in ("driven", "quarantine.driven__session_files", str(LANDING), "2026-11-21", " 2 "):
        assert said in line
    assert line.endswith("expect_column_values_to_not_be_null iban (1); parser (1)")
    assert quarantine.listed(home, "x") == 0
    assert capsys.readouterr().out == "nothing is in quarantine of x\n"


def test_a_row_is_shown_with_its_place_and_reason_and_without_personal_values(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quarantine.show(home, "driven", None, limit=10, clear=False) == 0
    shown = capsys.readouterr().out
    for said in (
        f"_landing_id {LANDING}  _row 7",
        "object   s3://lake/landing/driven/session_files/dt=2026-11-21/run=1/  record 7 (from 0)",
        "by the run scheduled__1",
        "because  raw: driven__session_files.iban is null",
        "because  load: has 3 fields, not 20",
        '"consumed_traffic": 12',
        '"person_name": "***", "consumed_traffic"',
        '"email": null',
        "record   *** (9 characters; the entity has personal columns, --clear shows it)",
    ):
        assert said in shown, shown
    assert "Ana Pop" not in shown


def test_clear_shows_all_and_a_limit_less(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    quarantine.show(home, "driven", "session_files", limit=10, clear=True)
    shown = capsys.readouterr().out
    assert '"person_name": "Ana Pop"' in shown
    assert 'record   "Ana Pop;x"' in shown
    quarantine.show(home, "driven", "session_files", limit=1, clear=True)
    assert "record   " not in capsys.readouterr().out


def test_what_is_not_there_is_told_by_name(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    quarantine.show(home, "driven", "sessions", limit=1, clear=False)
    assert capsys.readouterr().out == "nothing is in quarantine of driven.sessions\n"
    assert quarantine.redrive(home, "driven", "sessions") == 0
    assert capsys.readouterr().out == "nothing is in quarantine of driven.sessions; nothing to redrive\n"
    with pytest.raises(LocalError, match="there is no source 'drivn': include/sources has"):
        quarantine.listed(home, "drivn")
    with pytest.raises(LocalError, match="driven has no entity 'session': it has sessions, session_files"):
        quarantine.show(home, "driven", "session", limit=1, clear=False)
    with pytest.raises(LocalError, match="Airflow does not run"):
        quarantine.redrive(home, "driven", None)
    with pytest.raises(LocalError, match="PostgreSQL does not run"):
        quarantine.listed(Home(tmp_path, {}, {}, {}), None)
