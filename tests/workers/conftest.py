"""One stack with two Celery workers: the first listens on both queues, the second on `heavy` alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import SANDBOX
from tests.faults.points import SUBJECTS
from tests.faults.stack import Breakable, start
from tests.faults.victims import Run, begin

HEAVY = ("driven", "openweather", "tlc")
"""the sources whose queue is `heavy`; that of the others is Airflow's default"""
WORKERS = {"SLUICE_WORKERS": "default,heavy heavy"}


@pytest.fixture(scope="package")
def stack() -> Iterator[Breakable]:
    """The whole product with small data, its tasks run by two workers."""
    with start(SANDBOX | WORKERS, change=_change_sources) as made:
        yield made


@pytest.fixture(scope="package")
def runs(stack: Breakable) -> dict[str, Run]:
    """A run of each of the five sources, all at once, and all ended."""
    begun = {of.source: begin(stack, of.source, of.conf) for of in SUBJECTS}
    for run in begun.values():
        run.await_end()
    return begun


def _change_sources(project: Path) -> None:
    """Name the queues, and have a task that was lost with its worker tried again at once."""
    for file in sorted((project / "include" / "sources").glob("*/source.yml")):
        text = re.sub(r"(?m)^retry_delay_seconds: \d+$", "retry_delay_seconds: 2", file.read_text())
        file.write_text(text + ("\nqueue: heavy\n" if file.parent.name in HEAVY else ""))
