"""Processes are found again, and stopped, without ever taking a stranger's for ours."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local import process
from tests.waiting import wait_until

WAITING = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
# A parent whose child ignores SIGTERM and, like a task of Airflow's, has a process group of its own.
STUBBORN = """
import os, signal
if os.fork() == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"child={os.getpid()}", flush=True)
signal.pause()
"""


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., process.Started]]:
    begun: list[process.Started] = []

    def start(command: list[str], **env: str) -> process.Started:
        started = process.spawn(command, env={**os.environ, **env}, log=tmp_path / "log", cwd=tmp_path)
        begun.append(started)
        return started

    yield start
    process.stop(begun, first=signal.SIGKILL)


def test_a_recorded_process_is_known_again(tmp_path: Path, spawn: Callable[..., process.Started]) -> None:
    started = spawn(WAITING)
    process.write_record(tmp_path / "it.json", started, key="k")
    assert process.read_record(tmp_path / "it.json") == started
    assert process.is_running(started)


def test_a_stranger_that_has_got_the_recorded_pid_is_neither_running_nor_stopped(
    spawn: Callable[..., process.Started],
) -> None:
    stranger = spawn(WAITING)
    stale = process.Started(stranger.pid, "another boot:4711")
    assert not process.is_running(stale)
    process.stop([stale])
    assert process.is_running(stranger)


def test_a_broken_record_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "it.json").write_text('{"pid": 12')
    assert process.read_record(tmp_path / "it.json") is None


def test_stop_ends_children_too_even_those_that_ignore_it(
    tmp_path: Path, spawn: Callable[..., process.Started]
) -> None:
    started = spawn([sys.executable, "-c", STUBBORN])
    wait_until(lambda: "child=" in (tmp_path / "log").read_text(), "the child is there")
    child = int((tmp_path / "log").read_text().split("child=")[1])
    process.stop([started], grace_seconds=0.5)
    assert process.moment_of(started.pid) is None
    assert process.moment_of(child) is None


def test_the_orphans_of_a_killed_service_are_found_by_their_marks(
    tmp_path: Path, spawn: Callable[..., process.Started]
) -> None:
    marks = {process.MARK: "scheduler", process.HOME_MARK: str(tmp_path)}
    parent = spawn([sys.executable, "-c", STUBBORN], **marks)
    wait_until(lambda: "child=" in (tmp_path / "log").read_text(), "the child is there")
    child = int((tmp_path / "log").read_text().split("child=")[1])
    os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not process.is_running(parent), "the parent is gone")
    assert [one.pid for one in process.marked(tmp_path, {"scheduler"}) if one.status() != psutil.STATUS_ZOMBIE] == [
        child
    ]
    assert process.marked(tmp_path / "another", {"scheduler"}) == []
    process.stop([parent], members=lambda: process.marked(tmp_path, {"scheduler"}), grace_seconds=0.5)
    assert process.moment_of(child) is None


def test_an_orphan_that_hides_its_environment_is_found_by_its_session(
    tmp_path: Path, spawn: Callable[..., process.Started]
) -> None:
    hidden = STUBBORN.replace("    signal.signal", "    __import__('ctypes').CDLL(None).prctl(4, 0)\n    signal.signal")
    parent = spawn([sys.executable, "-c", hidden])
    wait_until(lambda: "child=" in (tmp_path / "log").read_text(), "the child is there")
    child = int((tmp_path / "log").read_text().split("child=")[1])
    os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not process.is_running(parent), "the parent is gone")
    process.stop([parent], grace_seconds=0.5)
    is_hidden = os.geteuid() != 0  # nothing hides from root, who finds it by its marks
    assert (process.moment_of(child) is None) == is_hidden
    if not is_hidden:
        os.kill(child, signal.SIGKILL)


def test_a_process_of_another_user_or_none_at_all_has_no_moment_that_could_match() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert process.moment_of(ended.pid) is None
