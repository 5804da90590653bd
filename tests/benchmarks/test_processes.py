"""Watching processes: the sizes are the kernel's, of the children's children too, and the peak is kept."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.processes import Seen, Watched, watch
from tests.waiting import wait_until

MB = 1_000_000
HOLDS = """
print("ready", flush=True)
input()
held = b"x" * 150_000_000
print("held", flush=True)
input()
del held
print("gone", flush=True)
input()
"""
HAS_A_CHILD = """
import subprocess, sys
below = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(below.pid, flush=True)
input()
"""
SAYS_WHAT_IT_DOES = """
import setproctitle
setproctitle.setproctitle("worker -- 1")
print("ready", flush=True)
input()
"""
WORKS = """
import time
def work():
    while time.process_time() < limit: pass
limit = 0.5
work()
print("worked", flush=True)
input()
limit = 0.7
work()
print("worked", flush=True)
input()
"""


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that goes on whenever it is given a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("\n")
    return said(process)


def of(watched: Watched, pid: int) -> Seen:
    (seen,) = [seen for (number, _), seen in list(watched.processes.items()) if number == pid]
    return seen


def test_a_peak_between_first_and_last_sample_is_found_and_kept() -> None:
    """What is freed again has been needed."""
    with child(HOLDS) as process:
        assert said(process) == "ready"
        with watch(lambda: {"holder": process.pid}, every_seconds=0.02) as watched:
            assert go_on(process) == "held"
            wait_until(lambda: of(watched, process.pid).rss > 150 * MB, "the memory is held")
            assert go_on(process) == "gone"
        seen = of(watched, process.pid)
    assert 150 * MB < seen.rss < 200 * MB
    assert seen.root == "holder"
    assert "held = b" in seen.title
    assert seen.first < seen.rss_at < seen.last


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells shares on Linux alone")
def test_what_is_a_processs_own_and_its_share_are_measured_with_the_peak() -> None:
    """A page counts once, whoever else has it."""
    with child(HOLDS) as process:
        assert (said(process), go_on(process)) == ("ready", "held")
        with watch(lambda: {"holder": process.pid}, every_seconds=60) as watched:
            pass
        seen = of(watched, process.pid)
    assert seen.uss is not None
    assert seen.pss is not None
    assert 150 * MB < seen.uss <= seen.pss <= seen.rss
    assert watched.together == seen.pss


def test_children_are_watched_and_strangers_are_not() -> None:
    """Whoever descends from a root has its root's name."""
    with child("input()") as stranger, child(HAS_A_CHILD) as process:
        below = int(said(process))
        with watch(lambda: {"root": process.pid}, every_seconds=60) as watched:
            pass
        assert {pid for pid, _ in watched.processes} == {process.pid, below}
        assert of(watched, below).root == "root"
        with watch(lambda: {"root": process.pid}, every_seconds=60, skip=[process.pid]) as watched:
            pass
        assert {pid for pid, _ in watched.processes} == {below}
        assert stranger.pid


def test_a_title_is_as_the_process_has_set_it() -> None:
    """Airflow's say which task they run; matched to the letter, so nothing may hang on."""
    with child(SAYS_WHAT_IT_DOES) as process:
        assert said(process) == "ready"
        with watch(lambda: {"worker": process.pid}, every_seconds=60) as watched:
            pass
        assert of(watched, process.pid).title == "worker -- 1"


def test_processor_time_counts_from_the_beginning_of_the_watch() -> None:
    """What a server did before is not this run's cost."""
    with child(WORKS) as process:
        assert said(process) == "worked"
        with watch(lambda: {"worker": process.pid}, every_seconds=60) as watched:
            assert go_on(process) == "worked"
        seen = of(watched, process.pid)
    assert 0.15 < seen.cpu_seconds < 0.4
