"""The sensor that waits for an API to be up, without holding a worker.

The http provider's own `HttpSensor(deferrable=True)` does not serve: a refused connection fails it at once instead of
being waited out, its trigger asks again without a pause on a 5xx, it sends the connection's password along as basic
authentication, and the connection's extra as headers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from airflow.sdk import BaseSensorOperator, Connection
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout
from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.extract.client import base_url_of

if TYPE_CHECKING:
    from airflow.sdk import Context

logger = logging.getLogger(__name__)

_FIRST_TRY_SECONDS = 5.0
_TRY_SECONDS = 20.0
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
_GRACE_SECONDS = 60.0  # the trigger ends the wait itself; only if it is gone does Airflow


class ApiUpSensor(BaseSensorOperator):
    """Succeeds when an API answers at all: any HTTP status under 500 (a 401 or a 404 means that it is up).

    It asks once itself, and defers only if that fails: an API that is up costs no deferral. The key is not sent.

    Args:
        connection_id: HTTP connection of the API.
        path: What to ask for.
        timeout: Seconds until the task fails (without a retry: it has waited long enough).
        unless: Templated; where it says "True" the API is not asked, for the run will not need it.
        kwargs: As for any operator.
    """

    template_fields = ("unless",)

    def __init__(
        self,
        *,
        connection_id: str,
        path: str = "/",
        timeout: float | timedelta = 600.0,
        unless: str = "False",
        **kwargs: Any,  # noqa: ANN401 - whatever an operator takes
    ) -> None:
        super().__init__(timeout=timeout, **kwargs)
        self.connection_id = connection_id
        self.path = path
        self.unless = unless

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow's signature
        """Ask once, then let the triggerer go on asking."""
        if self.unless == "True":
            logger.info("api_not_asked connection=%s: this run does without it", self.connection_id)
            return
        url = self._url()
        try:
            fault = _fault_of(
                requests.get(url, timeout=_FIRST_TRY_SECONDS, stream=True, allow_redirects=False).status_code
            )
        except requests.RequestException as error:
            fault = type(error).__name__
        if fault is None:
            logger.info("api_up connection=%s url=%s", self.connection_id, url)
            return
        logger.info("api_not_up connection=%s url=%s fault=%s", self.connection_id, url, fault)
        self.defer(
            trigger=ApiUpTrigger(url=url, until=time.time() + self.timeout),
            method_name="resume",
            timeout=timedelta(seconds=self.timeout + _GRACE_SECONDS),
        )

    def resume(self, context: Context, event: Mapping[str, Any]) -> None:  # noqa: ARG002 - Airflow's signature
        """Take what the trigger found.

        Raises:
            AirflowSensorTimeout: The API did not come up in time.
        """
        if event["up"]:
            logger.info("api_up connection=%s tries=%d", self.connection_id, event["tries"])
            return
        raise AirflowSensorTimeout(
            f"connection {self.connection_id!r}: {urlsplit(self._url()).netloc} was not up within {self.timeout:.0f} s "
            f"(tries: {event['tries']}, the last: {event['fault']}). See that it runs, and that the connection's host "
            "and port are right; then clear this task"
        )

    def _url(self) -> str:
        connection = Connection.get(self.connection_id)
        if not connection.host:
            raise AirflowFailException(
                f"connection {self.connection_id!r} has no host: set its host (and schema and port) to the API's"
            )
        return f"{base_url_of(connection.schema, connection.host, connection.port)}/{self.path.lstrip('/')}"


class ApiUpTrigger(BaseTrigger):
    """Asks a URL until it answers with a status under 500, with growing pauses, or until the time is up.

    Args:
        url: What to ask for; it holds no secret, for Airflow keeps it in its database.
        until: When to give up, in seconds since the epoch: a triggerer that takes over knows how long is left.
    """

    def __init__(self, url: str, until: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.url = url
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes it again."""
        return f"{__name__}.{type(self).__name__}", {"url": self.url, "until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: `{"up": bool, "tries": int, "fault": str | None}`."""
        import aiohttp  # the triggerer alone needs it, and every DAG file would pay for it

        wait, tries = _FIRST_WAIT_SECONDS, 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TRY_SECONDS), trust_env=True) as session:
            while True:
                tries += 1
                try:
                    async with session.get(self.url, allow_redirects=False) as response:
                        fault = _fault_of(response.status)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    fault = f"{type(error).__name__}: {error}"
                left = self.until - time.time()
                if fault is None or left <= 0:
                    found = {"up": fault is None, "tries": tries, "fault": fault}
                    yield TriggerEvent(found)  # type: ignore[no-untyped-call]
                    return
                await asyncio.sleep(min(wait, left))
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def _fault_of(status: int) -> str | None:
    return f"HTTP {status}" if status >= 500 else None
