"""Tasks that read or write what persons are erased from, and erasures, keep out of each other's way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from include.pipeline.model import load_source

_Result = TypeVar("_Result")


def at_work(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Of a task: while a person is erased from its source it waits, and no erasure begins while it works.

    The task's first argument is the source's name. A source without persons takes no lock.
    """

    @functools.wraps(function)
    def working(source_name: str, *arguments: Any, **named: Any) -> _Result:  # noqa: ANN401 - the task's own
        if load_source(source_name).person is None:
            return function(source_name, *arguments, **named)
        from include.pipeline import connections
        from include.warehouse import peace

        with peace.at_work(connections.warehouse_dsn(connections.LOADER), source_name):
            return function(source_name, *arguments, **named)

    return working
