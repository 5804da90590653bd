"""Rows that a gate holds back, and their way back: judge, hold, judge again; and which landings to load anew."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from include.gates import check_tables
from include.gates.rules import Layer, LayerName, OnFailure
from include.gates.verdict import Reason, Verdict
from include.pipeline.model import Source
from include.pipeline.steps import Landing, NothingToDo
from include.warehouse import quarantine

if TYPE_CHECKING:
    from include.warehouse.fence import Fence

log = logging.getLogger(__name__)

_ROUNDS = 5
"""a view that shows the newest row of each thing may show an older bad one when the newest is held"""


def holds_rows(gate: Layer) -> bool:
    """Whether a rule of the gate may hold rows back."""
    return any(rule.on_failure is OnFailure.QUARANTINE for table in gate.values() for rule in table.expect)


def judge(
    gate: Layer,
    layer: LayerName,
    landed: Sequence[Landing],
    *,
    gate_dsn: str,
    loader_dsn: str,
    dag_run_id: str,
    fence: Fence | None = None,
) -> Verdict:
    """Judge a layer, hold back the rows that its rules say so of, and judge what is left.

    What it found is told by what is held, not by what it moved: a second try of the same gate says the same.

    Args:
        gate: the layer's gates.
        layer: raw, staging or marts.
        landed: what the run is about.
        gate_dsn: postgresql:// URI of `sluice_gate`.
        loader_dsn: of `sluice_loader`, which owns raw and quarantine.
        dag_run_id: the run.
        fence: see `quarantine.divert`.

    Returns:
        The final verdict. Where a rule is over its share no row is moved; what was held before, of rows that came
        to light earlier, stays held.
    """
    landing_ids = [landing["landing_id"] for landing in landed]

    def held(table: str, reason: Reason) -> int:
        return quarantine.reasons_held(gate_dsn, table, landing_ids, reason)

    def judged() -> Verdict:
        return check_tables(
            gate,
            url=gate_dsn,
            schema=layer,
            landing_ids=landing_ids,
            entities=[landing["entity"] for landing in landed],
            held=held,
        )

    verdict = judged()
    for _ in range(_ROUNDS):
        if not verdict.offending or verdict.is_over_share:
            break
        moved = sum(
            quarantine.divert(loader_dsn, table, rows, dag_run_id=dag_run_id, fence=fence)
            for table, rows in verdict.offending.items()
        )
        if not moved:
            break
        log.info("quarantined layer=%s rows=%d: judging the rest", layer, moved)
        verdict = judged()
    why = (
        "nothing was quarantined, for another rule of this gate is over its share"
        if verdict.is_over_share
        else "quarantining the rows did not take them out of the table: is it a view of its raw table?"
    )
    return _failed(verdict, why).with_quarantined(held)


def to_redrive(
    source: Source, entity: str, *, dsn: str, only: str | None = None, landing_id: int | None = None
) -> list[Landing]:
    """The landings of an entity that have rows in quarantine, oldest first.

    Args:
        source: the source.
        entity: the entity.
        dsn: postgresql:// URI of `sluice_loader`.
        only: the one entity that the run is about, if it is about one.
        landing_id: the one landing that the run is about, if it is about one.

    Raises:
        NothingToDo: there is none.
    """
    if only not in (None, entity):
        raise NothingToDo(f"{entity}: this run redrives {only}")
    found = [
        Landing(landing_id=one.landing_id, entity=entity, partition=one.partition, uri=one.uri)
        for one in quarantine.held(dsn, source.name, entity)
        if landing_id in (None, one.landing_id)
    ]
    if not found:
        which = "none of its landings" if landing_id is None else f"no landing {landing_id} of it"
        raise NothingToDo(f"{entity}: {which} has rows in quarantine; nothing to redrive")
    log.info("redrive entity=%s landings=%s", entity, [one["landing_id"] for one in found])
    return found


def _failed(verdict: Verdict, why: str) -> Verdict:
    """What should have been held and was not, as failures."""
    return replace(
        verdict,
        offending={},
        results=tuple(
            result
            if result.success or result.on_failure is not OnFailure.QUARANTINE
            else replace(result, on_failure=OnFailure.FAIL, message=f"{result.message}; {why}")
            for result in verdict.results
        ),
    )
