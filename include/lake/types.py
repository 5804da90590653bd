"""Arrow's types as Glue and Athena name them (https://docs.aws.amazon.com/athena/latest/ug/data-types.html)."""

from __future__ import annotations

import pyarrow as pa

_NAMES = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.binary(): "binary",
    pa.date32(): "date",
    # Athena reads it to the millisecond; the files hold what there is
    pa.timestamp("us"): "timestamp",
}
_MOST_DIGITS = 38


def glue_type(kind: pa.DataType) -> str:
    """The type of a column in the catalogue.

    Raises:
        ValueError: Athena reads no such column: unsigned or 8-bit numbers, times with a zone, more than 38 digits, …
    """
    if pa.types.is_decimal128(kind) and 0 <= kind.scale <= kind.precision <= _MOST_DIGITS:
        return f"decimal({kind.precision},{kind.scale})"
    if kind not in _NAMES:
        raise ValueError(f"the lake has no type for {kind}")
    return _NAMES[kind]
