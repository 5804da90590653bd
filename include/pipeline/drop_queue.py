"""The queue that S3 tells of dropped files: the trigger by which Airflow's AssetWatcher hears of them.

S3's message: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger
from airflow.triggers.base import TriggerEvent

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.base_aws import BaseAwsConnection

log = logging.getLogger(__name__)

PREFIX = "drop/"
_LONG_POLL_SECONDS = 20  # SQS's most: an event is there at once, and an empty queue costs three requests a minute
_MORE_SECONDS = 1  # how long a file's event waits for those of the files that come with it
_MOST_MESSAGES = 500  # of one event; what is left rings again
_NAMED = 20  # files that an event names
_PAUSE_SECONDS = 30.0  # before an unreachable queue is asked again


class DropQueueTrigger(SqsSensorTrigger):
    """Fires for files that have arrived in the drop zone, once for all that arrive together.

    The messages are deleted from the queue as they are received, before Airflow has stored the event: an event can be
    lost with the triggerer. It is only a bell, and the hourly look of the DAG `arrivals` finds what it would have rung
    for. A queue that does not answer is asked again, and said so in one line; Airflow's own trigger would end with a
    traceback and be started again every second.

    Args:
        sqs_queue: URL of the queue.
        aws_conn_id: Airflow connection that may receive from it.
        kwargs: As `SqsSensorTrigger` serializes them.
    """

    def __init__(self, sqs_queue: str, aws_conn_id: str, **kwargs: Any) -> None:  # noqa: ANN401 - the provider's own
        own = {"max_messages": 10, "wait_time_seconds": _LONG_POLL_SECONDS, "waiter_delay": 0}
        super().__init__(sqs_queue, aws_conn_id, **{**own, **kwargs})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: `{"count": int, "files": [key]}`, the first of the keys."""
        while True:
            try:
                async with await self.hook.get_async_conn() as client:  # type: ignore[no-untyped-call]
                    keys = await self._keys(client)
            except Exception as fault:  # a watcher that ends is started again at once, whatever it ended of
                log.error(
                    "drop_queue=%s does not answer (%s: %s): dropped files wait for the hourly look and their sources' "
                    "schedules. See SLUICE_DROP_QUEUE, and that connection %r may receive from it and delete",
                    self.sqs_queue,
                    type(fault).__name__,
                    fault,
                    self.aws_conn_id,
                )
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if keys:
                yield TriggerEvent({"count": len(keys), "files": keys[:_NAMED]})  # type: ignore[no-untyped-call]
                return

    async def _keys(self, client: BaseAwsConnection) -> list[str]:
        """The keys that the next messages tell of, and those of the messages that come right behind them."""
        found = messages = list(await self.poke(client=client))
        self.wait_time_seconds = _MORE_SECONDS
        # what is received is no longer in the queue: should the next question fail, it rings all the same
        with suppress(Exception):
            while messages and len(found) < _MOST_MESSAGES:
                messages = list(await self.poke(client=client))
                found = found + messages
        self.wait_time_seconds = _LONG_POLL_SECONDS
        return list(dict.fromkeys(arrived_keys(found)))


def arrived_keys(messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Keys of the drop zone that SQS messages tell of, as they are called in S3.

    S3's own test message, and what is told of other objects, gives none; what is no message of S3's is said in the log.
    """
    for message in messages:
        try:
            content = json.loads(message["Body"])
            if content.get("Event") == "s3:TestEvent":  # S3 sends one when the notification is set up
                continue
            keys = [unquote_plus(record["s3"]["object"]["key"]) for record in content["Records"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("drop_queue message=%s is no event of S3's, and is passed over", message.get("MessageId"))
            continue
        for key in keys:
            if key.startswith(PREFIX):
                yield key
            else:
                log.warning("drop_queue key=%s is not below %s, and is passed over", key, PREFIX)
