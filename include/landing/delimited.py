"""CSV files (RFC 4180, and what is out there), by one reader for the gate and the loader, so that both see the same.

Lines end with LF, CRLF or CR, also mixed in one file. A field in quotes holds whatever it holds, line ends and doubled
quotes included; a quote inside of a field that is not quoted is a character like others. Empty lines are no rows.
A line is unreadable, and those around it are not, if it has more or fewer fields than the header or if something
follows a quote. A row of several lines with such a fault may as well be a quote in the wrong place that has swallowed
others, and one without a line end a file that was cut off: with those the file is refused. So it is for a quote that
is never closed, a NUL character, a line or a field of more than 16 Mi characters, and bytes that are not of the
encoding.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from include.landing.tables import Row, Unreadable

_LINE_CHARACTERS = 16 * 1024 * 1024
_READ_BYTES = 1024 * 1024

# The longest first, for UTF-32's mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

csv.field_size_limit(_LINE_CHARACTERS)


@dataclass(frozen=True)
class CsvOptions:
    """How a source's CSV files are written.

    Attributes:
        encoding: Of files that do not begin with a byte order mark, which says it itself: `utf-8`, `cp1252`, `latin-1`,
            or what else Python has (https://docs.python.org/3/library/codecs.html#standard-encodings).
        delimiter: The character between fields.
        quote: The character around fields.

    Raises:
        ValueError: One of them cannot be used.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'

    def __post_init__(self) -> None:
        """Refuse what the csv module would refuse later, or worse."""
        try:
            "a".encode(self.encoding)
        except (LookupError, TypeError):
            raise ValueError(
                f"csv.encoding {self.encoding!r} is not one that Python knows: utf-8, utf-16, cp1252, latin-1, …"
            ) from None
        for name, value in {"delimiter": self.delimiter, "quote": self.quote}.items():
            if len(value) != 1 or value in "\r\n\0":
                raise ValueError(f"csv.{name} {value!r} is not one character, such as ';' or '\"'")
        if self.delimiter == self.quote:
            raise ValueError(f"csv.delimiter and csv.quote are both {self.quote!r}: they must differ")


def csv_rows(file: BinaryIO, options: CsvOptions) -> Iterator[Row]:
    """The rows of a seekable file from its beginning, the header first, each with the line on which it begins.

    An unreadable one stands in its place among the others, see above.

    Raises:
        ValueError: The file is refused (see above); the message begins with the line.
    """
    encoding = encoding_of(file, options)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, newline="")
    seen: list[str] = []  # the lines of the row that is being read
    reader = csv.reader(_lines(text, seen), delimiter=options.delimiter, quotechar=options.quote, strict=True)
    line, width, is_done = 1, -1, False
    try:
        while not is_done:
            try:
                for row in reader:
                    if len(row) == width:
                        yield line, row
                    elif row and width < 0:
                        width = len(row)
                        yield line, row
                    elif row:
                        yield line, _unreadable(line, f"{len(row)} fields, where the header has {width}", seen)
                    line = reader.line_num + 1
                    seen.clear()
                is_done = True
            except csv.Error as fault:
                if width < 0 or "expected after" not in str(fault):  # that is what follows a quote
                    raise ValueError(f"line {line}: {_said(fault)}") from None
                yield line, _unreadable(line, _said(fault), seen)
                line = reader.line_num + 1
                seen.clear()
    except UnicodeDecodeError:
        raise ValueError(_where_not(file, encoding)) from None
    finally:
        if not file.closed:  # as it is when a reader that was left half way is collected
            text.detach()  # which would close the file otherwise


def encoding_of(file: BinaryIO, options: CsvOptions) -> str:
    """The encoding of a seekable file: what its byte order mark says, else what the source declares."""
    file.seek(0)
    head = file.read(4)
    return next((name for mark, name in _MARKS if head.startswith(mark)), options.encoding)


def _unreadable(line: int, fault: str, seen: Sequence[str]) -> Unreadable:
    if len(seen) != 1 or not seen[0].endswith(("\n", "\r")):
        raise ValueError(f"line {line}: {fault}")
    return Unreadable(f"line {line}: {fault}", seen[0].rstrip("\r\n"))


def _lines(text: io.TextIOWrapper, seen: list[str]) -> Iterator[str]:
    number = 0
    while line := text.readline(_LINE_CHARACTERS):
        number += 1
        seen.append(line)
        if len(line) == _LINE_CHARACTERS:
            raise ValueError(f"line {number}: longer than {_LINE_CHARACTERS} characters")
        if "\0" in line:
            raise ValueError(
                f"line {number}: a NUL character, which no text column can hold; if the file is UTF-16 without a byte "
                "order mark, declare csv: {encoding: utf-16-le} in source.yml"
            )
        yield line


def _said(fault: csv.Error) -> str:
    said = str(fault)
    if "unexpected end of data" in said:
        return "a quote is opened here and never closed"
    if "field larger" in said:
        return f"a field of more than {_LINE_CHARACTERS} characters: a quote that is never closed?"
    return said


def _where_not(file: BinaryIO, encoding: str) -> str:
    """One sentence on the first byte that cannot be decoded, which the decoder only knows within its own buffer."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    line, read = 1, 0
    while True:
        chunk = file.read(_READ_BYTES)
        read += len(chunk)
        try:
            line += newlines.decode(decoder.decode(chunk, final=not chunk)).count("\n")
        except UnicodeDecodeError as fault:
            kept = len(fault.object) - len(chunk)  # of the chunk before
            good = decoder.decode(chunk[: max(0, fault.start - kept)])
            line += newlines.decode(good, final=True).count("\n")
            position = read - len(fault.object) + fault.start
            return (
                f"line {line}: byte 0x{fault.object[fault.start]:02x}, byte {position} (from 0) of the file, is not "
                f"{encoding.removesuffix('-sig')}: declare the file's encoding in source.yml "
                "(csv: {encoding: cp1252}), or have the file corrected"
            )
        if not chunk:
            raise AssertionError("unreachable: decoding failed before")
