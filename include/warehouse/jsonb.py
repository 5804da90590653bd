"""What JSON can say and Postgres' jsonb cannot hold (https://www.postgresql.org/docs/current/datatype-json.html)."""

from __future__ import annotations

import re

_SUSPECT = re.compile(rb"\\u(0000|[dD][89a-fA-F])")
# A pair of surrogates, a single escape, any other escape: read in this order, so that `\\u0000` (a backslash and then
# the letters u0000) is seen for what it is.
_ESCAPES = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([0-9a-fA-F]{4})|\\.", re.DOTALL)
REPLACEMENT = rb"\ufffd"


def storable(document: bytes) -> bytes:
    r"""A JSON text with each escape that jsonb refuses replaced by U+FFFD, the replacement character.

    Those are `\u0000`, for Postgres' texts hold no NUL, and halves of surrogate pairs, which are no characters.
    The landing keeps the text as it came.
    """
    return _ESCAPES.sub(_replaced, document) if _SUSPECT.search(document) else document


def _replaced(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    if code is None or (code != b"0000" and not 0xD800 <= int(code, 16) <= 0xDFFF):
        return escape[0]
    return REPLACEMENT
