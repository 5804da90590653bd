"""The sensor: an API that is up costs no deferral, one that is down is waited for without a worker."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, TaskDeferred

from include.extract.api_up import ApiUpSensor, ApiUpTrigger
from tests.extract.conftest import Answer, Server

CONTEXT: Any = {}


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ApiUpSensor]:
    """A sensor of the connection `weather`, at a port of loopback."""

    def make(port: int, timeout: float = 5.0) -> ApiUpSensor:
        monkeypatch.setenv(
            "AIRFLOW_CONN_WEATHER",
            f'{{"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": {port}, "login": "me", '
            '"password": "s3cret", "extra": {"calls_per_minute": 60}}',
        )
        return ApiUpSensor(task_id="check_api", connection_id="weather", path="/data/2.5/weather", timeout=timeout)

    return make


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def deferred(sensor: ApiUpSensor) -> ApiUpTrigger:
    """The trigger that a sensor hands over to, made again as the triggerer makes it."""
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(CONTEXT)
    trigger = deferral.value.trigger
    assert isinstance(trigger, ApiUpTrigger)
    path, arguments = trigger.serialize()
    assert path == "include.extract.api_up.ApiUpTrigger"
    assert deferral.value.method_name == "resume"
    return ApiUpTrigger(**arguments)


def fire(trigger: ApiUpTrigger) -> dict[str, Any]:
    """The one event of a trigger."""

    async def first() -> dict[str, Any]:
        events = [event async for event in trigger.run()]
        assert len(events) == 1
        payload: dict[str, Any] = events[0].payload
        return payload

    return asyncio.run(first())


@pytest.mark.parametrize("status", [200, 204, 302, 401, 403, 404, 429])
def test_an_api_that_answers_at_all_is_up_at_the_first_try_without_a_deferral(
    server: Server, sensor: Callable[..., ApiUpSensor], status: int
) -> None:
    server.answer = lambda _: Answer(status, b"")
    sensor(server.port).execute(CONTEXT)
    assert [request.path for request in server.requests] == ["/data/2.5/weather"]


def test_neither_key_nor_extra_is_sent(server: Server, sensor: Callable[..., ApiUpSensor]) -> None:
    sensor(server.port).execute(CONTEXT)
    assert server.requests[0].query == {}
    assert not {"Authorization", "calls_per_minute"} & set(server.requests[0].headers)


def test_an_api_that_is_down_is_waited_for_until_it_is_up(server: Server, sensor: Callable[..., ApiUpSensor]) -> None:
    server.answer = lambda _: Answer(503 if len(server.requests) < 4 else 404)
    check = sensor(server.port, timeout=60)
    event = fire(deferred(check))
    assert event == {"up": True, "tries": 3, "fault": None}
    pauses = [later.at - earlier.at for earlier, later in zip(server.requests[1:], server.requests[2:], strict=False)]
    assert pauses[0] > 0.9
    assert pauses[1] > 1.9
    check.resume(CONTEXT, event)


def test_a_host_that_comes_up_while_it_is_waited_for_is_found(sensor: Callable[..., ApiUpSensor]) -> None:
    trigger = deferred(sensor(port := unused_port(), timeout=60))
    answered = threading.Event()

    def answer_late() -> None:
        with socket.create_server(("127.0.0.1", port)) as late:
            peer, _ = late.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                answered.set()

    timer = threading.Timer(0.5, answer_late)
    timer.start()
    assert fire(trigger)["up"] is True
    assert answered.is_set()
    timer.join()


def test_an_api_that_stays_down_fails_with_one_message_naming_connection_and_host(
    sensor: Callable[..., ApiUpSensor],
) -> None:
    check = sensor(port := unused_port(), timeout=0.5)
    event = fire(deferred(check))
    assert event["up"] is False
    with pytest.raises(AirflowSensorTimeout) as error:
        check.resume(CONTEXT, event)
    assert str(error.value).startswith(f"connection 'weather': 127.0.0.1:{port} was not up within ")
    assert "s3cret" not in str(error.value)


def test_the_trigger_holds_no_secret_and_gives_up_at_a_fixed_time(sensor: Callable[..., ApiUpSensor]) -> None:
    before = time.time()
    trigger = deferred(sensor(unused_port(), timeout=300))
    assert "s3cret" not in str(trigger.serialize())
    assert before + 300 <= trigger.until <= time.time() + 300


def test_a_connection_without_a_host_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", '{"conn_type": "http"}')
    with pytest.raises(AirflowFailException, match="connection 'nowhere' has no host: set its host"):
        ApiUpSensor(task_id="check_api", connection_id="nowhere").execute(CONTEXT)
