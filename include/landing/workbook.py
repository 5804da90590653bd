"""Spreadsheets (xlsx, ECMA-376), read as a stream: one sheet, whose first row that is not empty is the header.

Every cell becomes a text, which the declared type is then read from as it is from CSV: 12.0 is '12.0', a date
'2024-01-31', a time of day on it '2024-01-31 08:30:00', TRUE 'true'. Numbers are taken as they are stored, whatever
format shows them (a code shown as 007 is 7: have such columns stored as text). Formulas count by the value that was
calculated last. Rows of nothing are no rows, and cells of nothing are null. A row is unreadable, and those around it
are not, in which a cell holds an error, a formula that was never calculated, or a value that the header has no column
for.
"""

from __future__ import annotations

import datetime as dt
import json
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, BinaryIO
from xml.etree import ElementTree

import openpyxl
from openpyxl.utils import get_column_letter
from openpyxl.utils.escape import unescape
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet._reader import FORMULA_TAG, ROW_TAG, VALUE_TAG, WorkSheetParser

from include.landing.tables import Row, Unreadable

_SHEET_BYTES = 4 * 1024**3  # a million rows, the most a sheet has, of a hundred numbers each
_HELD_BYTES = 128 * 1024**2  # all but sheets: openpyxl holds the shared texts and the styles in memory
_ROW_BYTES = 64 * 1024**2
_ZIP_MAGIC = b"PK\x03\x04"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_FAULTS = (
    zipfile.BadZipFile, zlib.error, SyntaxError, InvalidFileException, EOFError, LookupError, TypeError,
    AttributeError, RuntimeError, OverflowError,
)  # fmt: skip


def sheet_rows(file: BinaryIO, sheet: str | None) -> Iterator[Row]:
    """The rows of a seekable file's sheet (the first one, if none is named), the header first, by their sheet rows.

    Raises:
        ValueError: The file is no workbook, is damaged or unpacks to more than the limits, or has no such sheet.
    """
    file.seek(0)
    head = file.read(8)
    if head == _OLE_MAGIC:
        raise ValueError("not an xlsx workbook: it is of the old format xls, or encrypted: have it saved as xlsx")
    if not head.startswith(_ZIP_MAGIC):
        raise ValueError("not an xlsx workbook: it does not begin as one")
    try:
        yield from _rows(file, sheet)
    except _FAULTS as fault:
        raise ValueError(f"damaged xlsx workbook: {type(fault).__name__}: {fault}") from fault


def _rows(file: BinaryIO, sheet: str | None) -> Iterator[Row]:
    _check_sizes(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what openpyxl does not support and we do not read
        book: Any = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    names = [one.title for one in book.worksheets]
    if not names or (sheet is not None and sheet not in names):
        raise ValueError(f"there is no sheet {sheet!r} in the workbook: it has {', '.join(map(repr, names)) or 'none'}")
    width = 0
    for number, cells, fault in _cells(book, book.worksheets[0] if sheet is None else book[sheet]):
        filled = {column: value for column, value in cells if value is not None}
        if not filled:
            continue
        width = width or max(filled)
        if max(filled) > width and fault is None:
            where = f"{get_column_letter(max(filled))}{number}"
            fault = f"line {number}: cell {where} holds a value, and the header has no name for its column"
        if fault is None:
            yield number, [filled.get(column) for column in range(1, width + 1)]
        else:
            named = {get_column_letter(column): value for column, value in filled.items()}
            yield number, Unreadable(fault, json.dumps(named, ensure_ascii=False))


def _check_sizes(file: BinaryIO) -> None:
    """Refuse what would unpack to more than a workbook does. The sizes told are true: zipfile reads no byte more."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    sheets = max((one.file_size for one in members if "worksheets/" in one.filename), default=0)
    held = sum(one.file_size for one in members if "worksheets/" not in one.filename and "media/" not in one.filename)
    for what, size, limit in (("a sheet", sheets, _SHEET_BYTES), ("its texts and styles", held, _HELD_BYTES)):
        if size > limit:
            raise ValueError(
                f"{what} would be {size} bytes unpacked, and the limit is {limit}: have it sent in parts, or as CSV"
            )


_Cells = tuple[int, list[tuple[int, str | None]], str | None]


def _cells(book: Any, sheet: Any) -> Iterator[_Cells]:  # noqa: ANN401
    """Number of the row, column and text of its cells, and what is wrong with one of them.

    With openpyxl's own reader of cells, but neither its loop over rows, which keeps something of each of them, nor its
    trust in the size that a sheet says it has, after which it stops.
    """
    parser: Any = WorkSheetParser(
        "",  # it parses single rows, no source
        sheet._shared_strings,
        data_only=True,
        epoch=book.epoch,
        date_formats=book._date_formats,
        timedelta_formats=book._timedelta_formats,
    )
    with sheet._get_source() as content, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dates out of range, which become errors
        source = _Metered(content)
        path: list[ElementTree.Element] = []
        # expat refuses entities that multiply (https://libexpat.github.io/doc/expat-2.4.0-released), and no entity is
        # resolved from outside
        for event, element in ElementTree.iterparse(source, events=("start", "end")):  # noqa: S314
            if event == "start":
                path.append(element)
                continue
            path.pop()
            if element.tag == ROW_TAG:
                yield _row(parser, element)
            if len(path) <= 2:  # a row, or what else is in the sheet: done with
                element.clear()
                if path:
                    path[-1].remove(element)
                source.since = 0


def _row(parser: Any, element: ElementTree.Element) -> _Cells:  # noqa: ANN401
    try:
        number, cells = parser.parse_row(element)
    except (ValueError, *_FAULTS) as fault:  # which may quote the value
        raise ValueError(
            f"line {element.get('r')}: damaged xlsx workbook: a cell cannot be read ({type(fault).__name__})"
        ) from None
    parser.row_dimensions.clear()
    texts, faults = [], []
    for cell, source in zip(cells, element, strict=True):
        where = f"line {number}: cell {get_column_letter(cell['column'])}{number}"
        value = _text(cell["value"])
        if cell["data_type"] == "e":
            faults.append(f"{where} holds the error {cell['value']}: have the sheet corrected")
        is_calculated = source.findtext(VALUE_TAG) or source.get("t") == "str"  # an empty text is a result too
        if source.find(FORMULA_TAG) is not None and not is_calculated:
            faults.append(f"{where} holds a formula without a value: have the workbook calculated and saved")
            value = f"={source.findtext(FORMULA_TAG) or ''}"
        texts.append((cell["column"], value))
    return number, texts, next(iter(faults), None)


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case str():
            return unescape(value) if "_x" in value else value
        case bool():
            return str(value).lower()
        case dt.datetime() if value.time() == dt.time():
            return value.date().isoformat()
        case dt.datetime():
            return value.isoformat(sep=" ")
        case _:
            return str(value)


class _Metered:
    """A file that says how much was read since a row was done with, and stops at a limit."""

    def __init__(self, content: IO[bytes]) -> None:
        self.since = 0
        self._content = content

    def read(self, size: int = -1) -> bytes:
        chunk = self._content.read(size)
        self.since += len(chunk)
        if self.since > _ROW_BYTES:
            raise ValueError(f"a row of more than {_ROW_BYTES} bytes: this is no sheet of rows")
        return chunk
