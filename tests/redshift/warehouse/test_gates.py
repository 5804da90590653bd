"""Gates on Redshift, by Great Expectations' own Redshift datasource: verdicts, rows held back, pages."""

from pathlib import Path

from include.gates import Verdict, load_gates
from include.gates.redshift import record, write_data_docs
from include.pipeline import held
from include.pipeline.model import SOURCES
from include.warehouse import quarantine
from include.warehouse.session import redshift_session
from tests.redshift.warehouse.bench import Bench, documents, trips


def test_bad_rows_are_held_back_and_the_rest_passes(bench: Bench, tmp_path: Path) -> None:
    source = bench.source("openweather")
    table = source.table("observations")
    good = {"id": 1, "dt": 2, "main": {"temp": 280.5}, "weather": [{"id": 800}]}
    bad = {"id": 2, "dt": 2, "main": {"temp": "warm"}, "weather": [{"id": 800}]}
    landing = bench.land(source, "observations", documents(good, bad, {**good, "id": "x|y"}))
    bench.load(source, landing)
    gate = {table: load_gates(SOURCES / "openweather" / "gates.yml").layer("raw")["openweather__observations"]}

    def judge() -> Verdict:
        return held.judge(
            gate,
            "raw",
            [landing],
            gate_dsn=bench.warehouse.dsn("sluice_gate"),
            loader_dsn=bench.dsn,
            dag_run_id="run",
        )

    lenient = tuple(one.model_copy(update={"at_most": 0.7}) for one in gate[table].expect)
    gate[table] = gate[table].model_copy(update={"expect": lenient})
    verdict = judge()
    assert verdict.passed, verdict.table()
    assert bench.rows(f"select _row from raw.{table}") == [(0,)]
    kept = bench.rows(
        f"select _row, json_serialize(payload), json_serialize(reasons) from quarantine.{table} order by 1"
    )
    assert [row for row, _, _ in kept] == [1, 2]
    assert '"warm"' in kept[0][1]
    assert "staging reads these as numbers" in kept[0][2]
    assert bench.loaded_rows(landing) == 1
    again = judge()
    assert again.passed
    assert bench.loaded_rows(landing) == 1
    ((found),) = quarantine.held(bench.dsn, source.name)
    assert (found.rows, found.landing_id) == (2, landing["landing_id"])

    with redshift_session(bench.warehouse.dsn("sluice_gate")) as session:
        record(session, verdict, source=source.name, layer="raw", dag_run_id="run", landing_ids=[landing["landing_id"]])
        index = write_data_docs(session, str(tmp_path))
    assert Path(index.removeprefix("file://")).is_file()
    page = (tmp_path / "data_docs" / source.name / "run" / "raw.html").read_text()
    assert str(landing["landing_id"]) in page

    # the way back is a reload
    assert bench.load(source, landing) == 3
    assert quarantine.held(bench.dsn, source.name) == []


def test_lost_rows_fail_the_gate(bench: Bench) -> None:
    source = bench.source("openweather")
    table = source.table("observations")
    landing = bench.land(source, "observations", documents({"id": 1, "dt": 2}, {"id": 2, "dt": 2}))
    bench.load(source, landing)
    bench.warehouse.ask(f"delete from raw.{table} where _row = 1")
    gate = {table: load_gates(SOURCES / "openweather" / "gates.yml").layer("raw")["openweather__observations"]}
    verdict = held.judge(
        gate, "raw", [landing], gate_dsn=bench.warehouse.dsn("sluice_gate"), loader_dsn=bench.dsn, dag_run_id="run"
    )
    assert [result.expectation for result in verdict.failures] == ["unexpected_rows_expectation"]


def test_a_typed_row_is_held_as_it_was(bench: Bench) -> None:
    source = bench.source("tlc")
    landing = bench.land(source, "green_trips", trips(4))
    bench.load(source, landing)
    table, landing_id = source.table("green_trips"), landing["landing_id"]
    reason = {"layer": "raw", "rule": "r", "column": None, "message": 'why\'s "that" \\ so'}
    assert quarantine.divert(bench.dsn, table, {(landing_id, 2): [reason]}, dag_run_id="run") == 1
    assert quarantine.divert(bench.dsn, table, {(landing_id, 2): [reason]}, dag_run_id="run") == 0
    assert quarantine.reasons_held(bench.dsn, table, [landing_id], reason) == 1
    assert quarantine.reasons_held(bench.dsn, table, [landing_id], {**reason, "message": "else"}) == 0
    ((row, trip, flag, at),) = bench.rows(
        "select _row, payload.vendorid::int, payload.store_and_fwd_flag::varchar(9), "
        f"payload.lpep_pickup_datetime::varchar(40) from quarantine.{table}"
    )
    assert (row, trip, flag) == (2, 2, "2")
    assert at.startswith("1970-01-01 00:00:00.000002")
    assert bench.loaded_rows(landing) == 3
