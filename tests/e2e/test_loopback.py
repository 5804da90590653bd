"""What the stack listens on: this machine's loopback, and nothing else."""

import json

import psutil
import pytest

from local import process, services
from tests.e2e.conftest import Stack

pytestmark = pytest.mark.e2e


def test_nothing_of_the_stack_listens_beyond_loopback(stack: Stack) -> None:
    status = json.loads(stack.sluice("status", "--json").stdout)
    started = [psutil.Process(one["pid"]) for one in status["services"]]
    members = {*started, *(child for one in started for child in one.children(recursive=True))}
    # those that outlived a parent are known by their environment
    members |= set(process.marked(stack.home, {service.name for service in services.SERVICES}))
    listening = {
        (one.laddr.ip, one.laddr.port)
        for member in members
        for one in member.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }
    known = {stack.port(name) for name in ("postgres", "s3", "sandbox", "smtp", "docs", "airflow", "s3_filer")}
    assert known <= {port for _, port in listening}
    assert {address for address, _ in listening} == {"127.0.0.1"}
