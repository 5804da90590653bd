"""A taxi month from a stream into a landing: against boto3's own multipart upload of the file."""

from __future__ import annotations

import itertools

from benchmarks.bench import Goal, Result, Servers, month_file
from benchmarks.measure import Took, Way, in_turn, of, paired
from benchmarks.table import megabytes, ratio, seconds

BARE, OURS = "boto3, upload_fileobj", "sluice: claimed, hashed, with a manifest"
_runs = itertools.count()


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure."""
    path = month_file(rows)

    def way(function: str) -> Took:
        given = {"s3": servers.s3.__dict__, "path": str(path), "run_id": f"run-{next(_runs)}"}
        return servers.clock.measure_apart(f"benchmarks.ours:{function}", given)

    took = in_turn(
        [Way(BARE, lambda: way("multipart_upload")), Way(OURS, lambda: way("land_file"))],
        rounds,
    )
    size = path.stat().st_size
    slower = paired(took[OURS], took[BARE])
    return Result(
        f"A file of {megabytes(size)} MB in pieces of 64 KiB.",
        ["way", "MB/s", "x bare", "client CPU s", "S3's CPU s", "peak MB", "rounds"],
        [
            [
                name,
                megabytes(int(size / (of(runs, lambda one: one.seconds) or 1))),
                ratio(paired(runs, took[BARE]), 1),
                seconds(of(runs, lambda one: one.client)),
                seconds(of(runs, lambda one: one.server)),
                megabytes(int(of(runs, lambda one: one.rss or 0) or 0)),
                str(rounds),
            ]
            for name, runs in took.items()
        ],
        [Goal("bytes a second, of a bare upload's", slower and 1 / slower, at_least=0.8)],
    )
