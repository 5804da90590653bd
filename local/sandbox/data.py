"""Real payloads under the `--data` folder, served before synthetic ones.

Layout: one folder a source, files under their upstream names.

    DIR/tlc/yellow_tripdata_2024-01.parquet  DIR/tlc/green_tripdata_2024-01.parquet  DIR/tlc/taxi_zone_lookup.csv
    DIR/openweather/*.json                   each file one payload or an array of them
    DIR/opensea/*.json                       pages of NFTs, or NFTs one by one; payloads of API v1 are passed over
    DIR/x/*.json                             answers with users or posts in `data`
    DIR/driven/*.csv                         batches with the API's 16 columns or more
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class DataError(ValueError):
    """A `--data` folder that cannot be served; its text names the file, the fault and the remedy."""


@dataclass(frozen=True)
class Payload:
    """One JSON object of a file.

    Attributes:
        text: The object exactly as the file writes it, so that serving it changes no digit.
        value: The same, parsed.
        file: Where it stands.
        origin: File and position, for messages.
    """

    text: str
    value: dict[str, Any]
    file: Path
    origin: str


def check_folder(folder: Path, sources: Collection[str]) -> None:
    """Refuse a data folder that holds nothing for any of the sources.

    Raises:
        DataError: The folder does not exist, is no folder, or has none of the sources' folders in it.
    """
    if not folder.is_dir():
        fault = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"--data {folder} {fault}; give the folder that holds {_listed(sources)}")
    if not any((folder / source).is_dir() for source in sources):
        raise DataError(f"--data {folder} holds no folder named {_listed(sources)}; give the folder above them")


def read_payloads(folder: Path) -> Iterator[Payload]:
    """Yield every payload of the folder's `*.json` files, in the order of their names.

    Raises:
        DataError: A file is not UTF-8, not JSON (NaN and Infinity are not), or no object or array of objects.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            text = path.read_text(encoding="utf-8-sig")
            json.loads(text, parse_constant=_refuse_constant)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path} is not readable JSON ({error}); mend the file or take it out of --data") from error
        for number, (start, end) in enumerate(_objects(text), start=1):
            value = json.loads(text[start:end])
            origin = f"{path}, payload {number}"
            if not isinstance(value, dict):
                raise DataError(f"{origin} is not a JSON object; each file holds one payload or an array of them")
            yield Payload(text=text[start:end], value=value, file=path, origin=origin)


def _objects(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the top-level value, or of each element of a top-level array; the text is known to be JSON."""
    decode = json.JSONDecoder().raw_decode
    at = _skip(text, 0)
    if text[at] != "[":
        yield at, decode(text, at)[1]
        return
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = decode(text, at)
        yield at, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _listed(names: Collection[str]) -> str:
    return " or ".join(f"{name}/" for name in names)
