"""Celery workers: two processes behind a broker run all sources, each its queues; one that is killed loses nothing."""

import json
from collections import defaultdict

import psutil
import pytest
import redis

from local import workers
from local.home import open_home
from local.process import read_record
from tests.faults.points import SUBJECTS, point
from tests.faults.served import MEASURED, held, orphans, served
from tests.faults.stack import Breakable
from tests.faults.victims import Run, begin
from tests.waiting import wait_until
from tests.workers.conftest import HEAVY

pytestmark = pytest.mark.e2e

BOTH = {"worker-1", "worker-2"}
LATER = "2024-06"
"""a month that no other test loads"""


@pytest.mark.parametrize("source", [of.source for of in SUBJECTS])
def test_a_source_that_workers_run_brings_every_record_once(
    stack: Breakable, runs: dict[str, Run], source: str
) -> None:
    assert runs[source].state() == "success", runs[source].progress()
    count, total = served(stack, source)
    arrived = held(stack, source)
    assert count > 0
    assert arrived["counts"] == (count,) * len(arrived["counts"])
    assert arrived["sums"] == pytest.approx((total,) * len(arrived["sums"]))


def test_both_workers_run_tasks_and_none_of_a_queue_that_is_not_theirs(stack: Breakable, runs: dict[str, Run]) -> None:
    ran = defaultdict(set)
    for queue, worker in stack.rows(
        "select distinct queue, hostname from task_instance where start_date is not null and state = 'success'",
        database="airflow",
    ):
        ran[queue].add(worker)
    assert ran == {"heavy": BOTH, "default": {"worker-1"}}
    queues = stack.rows("select distinct dag_id::text, queue::text from task_instance order by 1", database="airflow")
    assert queues == [(source, "heavy" if source in HEAVY else "default") for source in sorted(runs)]


def test_workers_are_forked_from_a_process_that_holds_everything(stack: Breakable, runs: dict[str, Run]) -> None:
    for name in BOTH:
        log = (open_home(stack.home).logs / f"{name}.log").read_text(errors="replace")
        assert "event=warm" in log
        assert "cold=none" in log
    with psutil.Process(_pid(stack, "worker-1")).oneshot():
        pool = psutil.Process(_pid(stack, "worker-1")).children()
    assert len(pool) >= workers.slots()


def test_the_broker_listens_on_loopback_and_wants_its_password(stack: Breakable) -> None:
    broker = psutil.Process(_pid(stack, "broker"))
    listening = {one.laddr.ip for one in broker.net_connections() if one.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert stack.secret("broker") not in " ".join(broker.cmdline())
    with (
        redis.Redis("127.0.0.1", stack.port("broker")) as stranger,
        pytest.raises(redis.AuthenticationError, match=r"(?i)authenticat"),
    ):
        stranger.llen("default")


def test_a_worker_that_is_killed_in_the_middle_of_a_load_loses_nothing_and_doubles_nothing(
    stack: Breakable, runs: dict[str, Run]
) -> None:
    of, measured = SUBJECTS[0], MEASURED["tlc"]
    at = point("mid-COPY", of)
    with stack.postgres.stall(at.where) as stall:
        run = begin(stack, "tlc", {"services": ["green"], "date": f"{LATER}-01"})
        run.await_stall(at.task, stall)
        killed = str(run.task(at.task)["hostname"])
        worker = psutil.Process(_pid(stack, killed))
        family = [worker, *worker.children(recursive=True)]
        assert stall.port in {one.laddr.port for member in family for one in member.net_connections()}
        for member in family:
            member.kill()
        psutil.wait_procs(family, timeout=30)
    state = run.await_end()
    assert state == "success", run.progress()
    (other,) = BOTH - {killed}
    again = run.task(at.task)
    assert (again["hostname"], again["try_number"]) == (other, 2)
    landed = f"select landing_id from ops.landing where entity = 'green_trips' and partition = '{LATER}'"
    (counts,) = stack.rows(
        f"select (select count(*) from {measured.raw} where _landing_id in ({landed})), "
        "count(*), count(distinct trip_key), round(sum(total_amount_usd), 2)::float "
        f"from analytics.fact_taxi_trip where source_month = date '{LATER}-01'"
    )
    records, total = served(stack, "tlc", month=LATER)
    assert counts[:3] == (records,) * 3
    assert counts[3] == pytest.approx(total)
    assert orphans(stack) == []

    told = {one["service"]: one["running"] for one in json.loads(stack.sluice("status", "--json").stdout)["services"]}
    assert {name: told[name] for name in BOTH} == {killed: False, other: True}


def test_up_heals_a_worker_that_was_killed_and_down_stops_them_all(stack: Breakable, runs: dict[str, Run]) -> None:
    healed = stack.sluice("up", "--no-run")
    assert healed.returncode == 0, healed.stdout + healed.stderr
    told = json.loads(stack.sluice("status", "--json").stdout)["services"]
    assert all(one["ready"] for one in told), told
    assert {"broker", *BOTH} <= {one["service"] for one in told}
    processes = [psutil.Process(_pid(stack, name)) for name in ("broker", *BOTH)]
    processes += [child for process in processes for child in process.children(recursive=True)]

    assert stack.sluice("down").returncode == 0

    wait_until(lambda: not any(process.is_running() for process in processes), "broker and workers have ended")


def _pid(stack: Breakable, service: str) -> int:
    started = read_record(open_home(stack.home).run / f"{service}.json")
    assert started is not None
    return started.pid
