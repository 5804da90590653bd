"""`./sluice replay`: one run of a source's DAG that rebuilds raw to analytics from its landings, its API unasked."""

from typing import Any

from local import commands, runs
from local.home import Home, LocalError


def replay(home: Home, source: str, *, first: str | None, last: str | None) -> int:
    """Rebuild a source from S3 and wait for it; the same as the DAG's form with `from_landing`.

    Args:
        home: The stack.
        source: A folder of include/sources.
        first: Day (YYYY-MM-DD) from which on; None for all that was ever landed.
        last: The last day; None for `first` alone.

    Returns:
        0 when what was landed is published.

    Raises:
        LocalError: The range ends before it begins, or the stack cannot run it.
    """
    if first and last and last < first:
        raise LocalError(f"--from {first} is after --to {last}: give the earlier day first")
    span: dict[str, Any] = {"date": first, "until": last} if first else {"all_landings": True}
    api = commands.ready(home, source)
    begun = runs.trigger(api, source, {"from_landing": True} | span)
    runs.follow(api, [begun], say=commands.say)
    return 0 if commands.conclude(home, api, [begun]) and begun.state == "success" else 1
