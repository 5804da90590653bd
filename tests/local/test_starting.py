"""Services that end while the stack starts."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from local import services
from local.home import Home, LocalError, open_home
from local.services import Service


def python(code: str) -> Sequence[str]:
    return [sys.executable, "-c", code]


def nothing(_: Home) -> Mapping[str, str]:
    return {}


def test_a_service_that_ends_once_another_has_answered_in_its_place_is_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stacks on one port: the other's API server answers, ours dies, and what needs it would never get ready."""
    answered = tmp_path / "answered"
    os.mkfifo(answered)

    def is_never_ready(_: Home) -> bool:
        if not released:
            released.append(answered.write_text("go"))
        return False

    def dies(_: Home) -> Sequence[str]:
        return python(f"open({str(answered)!r}).read(); print('taken')")

    def waits(_: Home) -> Sequence[str]:
        return python("import signal; signal.pause()")

    released: list[int] = []
    first = Service("first", command=dies, env=nothing, is_ready=lambda _: True)
    second = Service("second", command=waits, env=nothing, is_ready=is_never_ready, needs=("first",))
    monkeypatch.setattr(services, "SERVICES", (first, second))
    monkeypatch.setattr(services, "STEPS", ())
    home = open_home(tmp_path / "home")
    try:
        with pytest.raises(
            LocalError, match=r"first ended while the stack was starting; the end of \S+first.log:\n\s*taken"
        ):
            services.start_all(home, say=lambda _: None)
    finally:
        services.stop(home, [first, second])
