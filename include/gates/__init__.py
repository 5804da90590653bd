"""The gates: a source's `gates.yml` -> Great Expectations checkpoint -> verdict.

`load_gates` reads the file (without Great Expectations, whose import costs seconds, so a DAG file may call it),
`check_tables` and `check_frame` judge a layer, `record` books the verdict in `ops.gate_result`, `write_data_docs`
shows what was booked.
"""

from include.gates.check import check_frame, check_tables, validate_expectations
from include.gates.data_docs import write_data_docs
from include.gates.record import record
from include.gates.rules import Gates, GatesError, Layer, OnFailure, load_gates
from include.gates.verdict import GateFailed, Result, Verdict, merged

__all__ = [
    "GateFailed",
    "Gates",
    "GatesError",
    "Layer",
    "OnFailure",
    "Result",
    "Verdict",
    "check_frame",
    "check_tables",
    "load_gates",
    "merged",
    "record",
    "validate_expectations",
    "write_data_docs",
]
