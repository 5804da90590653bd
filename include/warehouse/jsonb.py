"""What JSON can say and Postgres' jsonb cannot hold (https://www.postgresql.org/docs/current/datatype-json.html)."""

from __future__ import annotations

import re

_SUSPECT = re.compile(rb"\\u(0000|[dD][89a-fA-F])")
# A pair of surrogates, a single escape, any other escape: read in this order, so that `\\u0000` (a backslash and then
# the letters u0000) is seen for what it is.
_ESCAPES = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([0-9a-fA-F]{4})|\\.", re.DOTALL)
REPLACEMENT = rb"\ufffd"

_WHOLE_DIGITS = 131_072
_DECIMALS = 16_383
_DEEPEST = 1_000
_EXPONENT_DIGITS = 9  # of what Postgres reads as an exponent at all
# Less than it takes: below a thousand, an exponent and so many digits together stay within the range.
_MANY_DIGITS = 15_000
# Apart, for each begins with a letter, and a letter is found quickly; most of them stand in words, behind a letter.
_SMALL_E, _LARGE_E = re.compile(rb"e(?<=[0-9]e)[+-]?[0-9]{4}"), re.compile(rb"E(?<=[0-9]E)[+-]?[0-9]{4}")
_DIGIT = re.compile(rb"[0-9]")
_DIGITS = re.compile(rb"[0-9]{%d}" % _MANY_DIGITS)
# Strings are passed over, in which all of this may stand: open, close, constant; whole digits, decimals, exponent.
_TOKENS = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|([\]}])|(NaN|-?Infinity)|-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?',
    re.DOTALL,
)


def storable(document: bytes) -> bytes:
    r"""A JSON text with each escape that jsonb refuses replaced by U+FFFD, the replacement character.

    Those are `\u0000`, for Postgres' texts hold no NUL, and halves of surrogate pairs, which are no characters.
    The landing keeps the text as it came.
    """
    return _ESCAPES.sub(_replaced, document) if _SUSPECT.search(document) else document


def fault_of(document: bytes) -> str | None:
    """Why jsonb refuses a JSON text that Python's scanner has passed; None where it takes it, as `storable` gives it.

    Python knows NaN and the infinities and numbers of any size; jsonb's are of the type numeric, with at most 131,072
    digits before the point and 16,383 behind it. How deep Postgres can nest follows from its stack
    (`max_stack_depth`); 1,000 is far from that, and from what anyone sends.

    Args:
        document: UTF-8; one that has nothing unusual is only searched, at some hundred MB a second.

    Returns:
        A predicate without the record's values: `holds NaN, which is no JSON number`.
    """
    if not _is_suspect(document):
        return None
    depth = 0
    for token in _TOKENS.finditer(document):
        if token[1]:
            depth += 1
            if depth > _DEEPEST:
                return f"is nested more than {_DEEPEST} deep"
        elif token[2]:
            depth -= 1
        elif token[3]:
            return f"holds {token[3].decode()}, which is no JSON number"
        elif token[4] is not None and not _is_numeric(token[4] or b"0", token[5] or b"", token[6] or b"0"):
            return "holds a number that is out of the range of Postgres' numeric"
    return None


def _is_suspect(document: bytes) -> bool:
    return (
        b"NaN" in document
        or b"Infinity" in document
        or _SMALL_E.search(document) is not None
        or _LARGE_E.search(document) is not None
        or (len(document) > 2 * _DEEPEST and document.count(b"[") + document.count(b"{") > _DEEPEST)
        # a run of so many digits has one of them at every so many bytes
        or (
            len(document) >= _MANY_DIGITS
            and _DIGIT.search(document[::_MANY_DIGITS]) is not None
            and _DIGITS.search(document) is not None
        )
    )


def _is_numeric(whole: bytes, decimals: bytes, exponent: bytes) -> bool:
    if len(exponent.lstrip(b"+-0")) > _EXPONENT_DIGITS:
        return False
    shift = int(exponent)
    digits = whole.lstrip(b"0")
    before = len(digits) if digits else len(decimals.lstrip(b"0")) - len(decimals)
    is_zero = not digits and not decimals.strip(b"0")
    return len(decimals) - shift <= _DECIMALS and (is_zero or before + shift <= _WHOLE_DIGITS)


def _replaced(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    if code is None or (code != b"0000" and not 0xD800 <= int(code, 16) <= 0xDFFF):
        return escape[0]
    return REPLACEMENT
