"""Free ports: taken ones are stepped over, and two launchers never choose the same."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import ports, process, services
from local.home import PROJECT, Home, open_home


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((ports.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_somebody_listens_on_is_stepped_over(taken: int) -> None:
    assert not ports.reserve(taken)
    assert ports.reserve_from(taken) > taken


def test_a_port_is_refused_when_one_along_with_it_is_taken(taken: int) -> None:
    assert not ports.reserve(taken - 7, along=[7])
    assert ports.reserve(taken - 7)  # and was given back


def test_a_port_that_another_launcher_has_reserved_is_stepped_over(taken: int) -> None:
    first = taken + 1
    code = f"from local import ports; print(ports.reserve_from({first}), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as other:
        assert other.stdout is not None
        reserved = int(other.stdout.readline())
        assert not ports.reserve(reserved)
        other.communicate("\n")
    assert ports.reserve(reserved)


def test_chosen_ports_are_told_when_not_the_usual_and_kept_for_the_next_time(
    tmp_path: Path, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    home: Home = open_home(tmp_path)
    home.ports["docs"] = taken
    services.choose_ports(home)
    told = capsys.readouterr().out
    assert f"port {taken} is taken: docs listens on {home.ports['docs']}" in told
    assert open_home(tmp_path).ports == home.ports
    assert len(set(home.ports.values())) == len(home.ports)


def test_the_port_of_a_service_that_runs_is_kept_for_it_should_it_be_started_again(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind((ports.HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        home = open_home(tmp_path)
        home.ports["docs"] = port
        process.write_record(home.run / "docs.json", own_process())
        services.choose_ports(home)
    assert home.ports["docs"] == port
    code = f"from local import ports; print(ports.reserve({port}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert other.stdout == "False\n"


def own_process() -> process.Started:
    moment = process.moment_of(os.getpid())
    assert moment is not None
    return process.Started(os.getpid(), moment)
