"""Functions of a source's own folder, for what YAML cannot say.

`extract: extract.py:function` gives the payloads of an entity; it takes an `Extract` and yields each payload as bytes,
or a pair of the payload and the values of the request that it answers. For a file format it yields the file in chunks.

`transform: transform.py:function` stands between the landing and raw. For JSON it takes a record (dict) and yields the
records that it becomes; for files it takes a batch of rows (pandas, Arrow types) and returns the rows that they become.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.extract import ApiClient
from include.pipeline.model import SOURCES, Source
from include.pipeline.partition import RunPartition


@dataclass(frozen=True)
class Extract:
    """What a function of `extract.py` works with.

    Attributes:
        client: Asks the source's API, with its key, retries, rate budget and host allow-list.
        source: The source.
        entity: The entity's name.
        partition: What this run is about.
        params: The run's parameters.
        since: The values of a request -> where the entity's cursor stands for them, None for everything.
    """

    client: ApiClient
    source: Source
    entity: str
    partition: RunPartition
    params: Mapping[str, Sequence[str]]
    since: Callable[[Mapping[str, str]], str | None]


def function_of(source: str, reference: str, folder: Path = SOURCES) -> Callable[..., Any]:
    """The function that a source's YAML names as `file.py:function`; `load_source` has seen that it is there."""
    file, name = reference.split(":")
    path = folder / source / file
    module_name = f"include.sources.{source}.{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"include/sources/{source}/{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look there
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, name)
    return function
