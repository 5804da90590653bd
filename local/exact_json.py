"""JSON whose numbers keep their digits: 256 bits, 1.10 and 1e400 are what no float keeps."""

import json
from typing import Any


class Number(str):
    """A number as it was written."""

    __slots__ = ()


def parse(text: str | bytes) -> Any:  # noqa: ANN401 - JSON
    """A JSON text as Python's values, numbers as `Number`.

    Raises:
        ValueError: It is none.
    """
    return json.loads(text, parse_int=Number, parse_float=Number)


def write(value: Any) -> str:  # noqa: ANN401 - JSON
    """What `parse` has read, in one line."""
    match value:
        case Number():
            return str.__str__(value)
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:  # half of a surrogate pair
                return json.dumps(value)
            return json.dumps(value, ensure_ascii=False)
        case dict():
            return "{" + ", ".join(f"{write(name)}: {write(one)}" for name, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(write, value)) + "]"
    return json.dumps(value)
