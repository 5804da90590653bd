"""A batch goes bad before the gate of each layer, on the stack: the run stops, and no reader sees a row of it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.faults.bad_batches import BAD
from tests.faults.conftest import NEXT_DAY
from tests.faults.page import LAYERS
from tests.faults.points import SUBJECTS
from tests.faults.proxy import Where
from tests.faults.readers import Watch, reading, to_the_byte
from tests.faults.served import MEASURED
from tests.faults.stack import Breakable
from tests.faults.victims import Run, begin

pytestmark = pytest.mark.e2e

(BATCH,) = (bad for bad in BAD if bad.source == "openweather")
(SUBJECT,) = (of for of in SUBJECTS if of.source == "openweather")
OF = MEASURED["openweather"]


@dataclass
class Held:
    """What came of it.

    Attributes:
        messages: Layer -> what the gate said.
        changed: Layer -> tables whose bytes were others after the gate had failed.
        watch: What the reader saw until the batch was mended.
        state: How the run ended at last.
        published: Rows of the batch that readers see at last.
    """

    messages: dict[str, str] = field(default_factory=dict)
    changed: dict[str, set[str]] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    state: str = ""
    published: int = 0


@pytest.fixture(scope="module")
def held(stack: Breakable) -> Iterator[Held]:
    """A batch that is published, and one that goes bad layer after layer, is mended, and is published at last."""
    assert begin(stack, OF.source, SUBJECT.conf).await_end() == "success"
    found, since = Held(), time.time_ns() // 1000
    before = to_the_byte(stack)
    stack.control("PUT", "clock", {"now": NEXT_DAY})
    stack.control("PUT", "faults", [BATCH.api])
    try:
        with reading(stack.dsn("analyst"), [OF.fact], since=since) as found.watch:
            run = begin(stack, OF.source, BATCH.conf)
            for layer in LAYERS:
                found.messages[layer] = _go_bad(stack, run, layer)
                after = to_the_byte(stack)
                found.changed[layer] = {name for name in before if before[name] != after.get(name)}
                stack.control("DELETE", "faults")
        run.again(f"marts.{SUBJECT.mart}")
        found.state = run.await_end()
        ((found.published,),) = stack.rows(f"select count(*) from analytics.{OF.fact} where _landing_id >= {since}")
        yield found
    finally:
        stack.control("DELETE", "faults")
        stack.control("DELETE", "clock")


@pytest.mark.parametrize("layer", LAYERS)
def test_a_gate_that_fails_stops_the_run_and_readers_see_the_same_bytes(held: Held, layer: str) -> None:
    assert f"openweather: the gate of {layer} has failed" in held.messages[layer]
    assert held.changed[layer] == set()


def test_a_batch_that_is_mended_is_published(held: Held) -> None:
    assert held.state == "success"
    assert held.published > 0


def test_a_reader_who_asks_twenty_times_a_second_never_sees_a_row_of_the_batch(held: Held) -> None:
    assert held.watch.strange == []
    assert held.watch.per_second >= 20


def _go_bad(stack: Breakable, run: Run, layer: str) -> str:
    """Bring the batch to the gate of a layer and have it bad there; what the gate said when it had failed."""
    gate = f"gate_{layer}"
    if layer == "landing":
        return _await_failure(run, gate)
    table = {"raw": "openweather__observations", "staging": "stg_openweather__", "marts": OF.fact}[layer]
    with stack.postgres.stall(Where([rb"user\x00sluice_gate\x00", table.encode()], "request")) as stall:
        # what went bad before is mended by the step that makes it
        run.again("landing.fetch_observations" if layer == "raw" else "raw.load_observations")
        run.await_stall(gate, stall)
        marts = f"delete from marts.{OF.fact} where {{batch}} and _row > 0"
        suffers = {"raw": BATCH.raw, "staging": BATCH.staging, "marts": marts}[layer]
        batch = f"_landing_id = (select max(_landing_id) from {OF.raw})"
        stack.rows(suffers.format(raw=OF.raw, batch=batch))
    return _await_failure(run, gate)


def _await_failure(run: Run, gate: str) -> str:
    """What the gate said; only once the run is over, for until then Airflow marks the tasks behind it as failed too."""
    run.await_task(gate, {"failed"})
    assert run.await_end() == "failed"
    return run.told(gate)
