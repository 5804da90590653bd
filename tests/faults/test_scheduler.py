"""The scheduler dies in the middle of a run: it is started again, and the run goes on to its end."""

import signal
import time

import psutil
import pytest

from local.home import open_home
from local.process import alive, read_record
from local.scheduler import SETTLED_SECONDS
from tests.faults.page import Ledger
from tests.faults.points import SUBJECTS, point
from tests.faults.served import MEASURED, orphans, served
from tests.faults.stack import Breakable
from tests.faults.victims import begin
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

MONTH = "2024-06"


def test_a_scheduler_that_is_killed_and_started_again_ends_the_run_that_it_had_begun(
    stack: Breakable, ledger: Ledger
) -> None:
    of, measured = SUBJECTS[0], MEASURED["tlc"]
    at = point("mid-COPY", of)
    with stack.postgres.stall(at.where) as stall:
        run = begin(stack, "tlc", {"services": ["green"], "date": f"{MONTH}-01"})
        run.await_stall(at.task, stall)
        task = psutil.Process(run.task(at.task)["pid"])
        scheduler = _scheduler(stack)
        scheduler.send_signal(signal.SIGKILL)
        scheduler.wait(timeout=30)
        assert alive(task), "the task has to outlive its scheduler for this"
        healed = stack.sluice("up", "--no-run")
    assert healed.returncode == 0, healed.stdout + healed.stderr
    assert not alive(task), "a task of the dead scheduler goes on"
    assert run.await_end() == "success", run.progress()
    landed = f"select landing_id from ops.landing where entity = 'green_trips' and partition = '{MONTH}'"
    (counts,) = stack.rows(
        f"select (select count(*) from {measured.raw} where _landing_id in ({landed})), "
        f"count(*), count(distinct trip_key), round(sum(total_amount_usd), 2)::float "
        f"from analytics.fact_taxi_trip where source_month = date '{MONTH}-01'"
    )
    records, total = served(stack, "tlc", month=MONTH)
    assert counts[:3] == (records,) * 3
    assert counts[3] == pytest.approx(total)
    assert orphans(stack) == []
    ledger.note("server", "the scheduler is killed during a run")


def test_a_scheduler_that_dies_of_a_fault_of_its_own_is_started_again(stack: Breakable, ledger: Ledger) -> None:
    scheduler, log = _scheduler(stack), open_home(stack.home).logs / "scheduler.log"
    before = log.stat().st_size

    def said() -> str:
        with log.open(errors="replace") as file:
            file.seek(before)
            return file.read()

    wait_until(lambda: time.time() - scheduler.create_time() > SETTLED_SECONDS + 1, "the scheduler has settled", 60)
    stack.rows("alter table dag_run rename to dag_run_hidden", database="airflow")
    try:
        wait_until(lambda: "the scheduler has died; it is started again" in said(), "the scheduler has died", 120)
    finally:
        stack.rows("alter table dag_run_hidden rename to dag_run", database="airflow")
    of = SUBJECTS[0]
    run = begin(stack, "tlc", {**of.conf, "date": f"{MONTH}-01"})
    assert run.await_end() == "success", run.progress()
    assert scheduler.is_running(), "the pid that the launcher knows is another's"
    ledger.note("server", "the scheduler dies of a fault of its own")


def _scheduler(stack: Breakable) -> psutil.Process:
    record = read_record(open_home(stack.home).run / "scheduler.json")
    assert record is not None
    return psutil.Process(record.pid)
