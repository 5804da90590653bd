"""Data Docs: what the gates found, as pages that open anywhere.

Great Expectations renders pages of its own, but they load styles and scripts from CDNs, so that without a network they
stay blank, and they slow down with every run they keep. These here are made of ops.gate_result: an index of all sources
and layers, and a page for each gate of the last runs. Each is one file without references to any other host.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from include.gates.rules import LAYERS

if TYPE_CHECKING:
    from jinja2 import Environment
    from mypy_boto3_s3 import S3Client
    from psycopg2.extensions import connection as Connection  # noqa: N812

INDEX = "index.html"
_PAGES = "pages.json"
"""page -> the newest result that it shows; what need not be written again"""
RESULTS_A_SOURCE = 6_000
"""the newest results of a source, of which pages are made"""

# The newest results of each source, found by walking the index source by source; of a gate that ran again, and of a
# landing whose entities are judged one by one, the newest results of each table.
_RUNS = """
with recursive sources (source) as (
    (select source from ops.gate_result order by source limit 1)
    union all
    select (select g.source from ops.gate_result as g where g.source > s.source order by g.source limit 1)
    from sources as s where s.source is not null
),
newest as (
    select r.*, rank() over (partition by r.source, layer, dag_run_id, table_name order by checked_at desc) as attempt
    from sources cross join lateral (
        select * from ops.gate_result as g where g.source = sources.source order by checked_at desc limit %(results)s
    ) as r
)
select source, layer, dag_run_id, max(gate_result_id), max(checked_at), count(*),
    count(*) filter (where not success and on_failure = 'fail'),
    count(*) filter (where not success and on_failure = 'warn'),
    count(*) filter (where not success and on_failure = 'quarantine'),
    coalesce(sum(rows_unexpected) filter (where not success and on_failure = 'quarantine'), 0)
from newest where attempt = 1
group by source, layer, dag_run_id
order by source, max(checked_at) desc, layer
"""
_RESULTS = """
select table_name, column_name, expectation, arguments, on_failure, success, rows_checked, rows_unexpected, observed,
    message, landing_ids
from (
    select *, rank() over (partition by table_name order by checked_at desc) as attempt
    from ops.gate_result where source = %s and layer = %s and dag_run_id = %s
) as results
where attempt = 1
order by gate_result_id
"""


def write_data_docs(connection: Connection, docs_uri: str, *, s3: S3Client | None = None, runs: int = 30) -> str:
    """Write the index, and the pages that are not there yet, of the last runs; remove those of older runs.

    Two gates at once take turns (an advisory lock), and each page is replaced as a whole, so that a reader never sees
    half of one and the index never falls behind.

    Args:
        connection: to the warehouse, as `sluice_gate`; in no transaction.
        docs_uri: where the pages go, below `data_docs/`: a folder (`file:///…` or a path) or `s3://bucket/prefix`.
        s3: the client for an `s3://` URI.
        runs: how many runs of each source are kept.

    Returns:
        The URI of the index.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext('sluice data docs'))")
        cursor.execute(_RUNS, {"results": RESULTS_A_SOURCE})

        def results(source: str, layer: str, dag_run_id: str) -> list[dict[str, Any]]:
            cursor.execute(_RESULTS, (source, layer, dag_run_id))
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

        return write_pages(cursor.fetchall(), results, docs_uri, s3=s3, runs=runs)


def write_pages(
    found: Iterable[Sequence[Any]],
    results: Callable[[str, str, str], list[dict[str, Any]]],
    docs_uri: str,
    *,
    s3: S3Client | None = None,
    runs: int = 30,
) -> str:
    """Write the pages of gates that are found already.

    Args:
        found: the gates, newest first of each source, as `_Gate` has its fields.
        results: source, layer and run -> the results of that gate, column -> value.
        docs_uri: see `write_data_docs`.
        s3: the client for an `s3://` URI.
        runs: how many runs of each source are kept.

    Returns:
        The URI of the index.
    """
    site = _site(docs_uri, s3)
    gates = _last_runs((_Gate(*row) for row in found), runs)
    written: dict[str, int] = json.loads(site.read(_PAGES) or "{}")
    wanted = {gate.page: gate.newest for gate in gates}
    for gate in gates:
        if written.get(gate.page) != gate.newest:
            of_gate = results(gate.source, gate.layer, gate.dag_run_id)
            others = [g for g in gates if (g.source, g.dag_run_id) == (gate.source, gate.dag_run_id)]
            site.write(gate.page, _template("gate.html.j2", gate=gate, results=of_gate, others=others))
    site.write(INDEX, _template("index.html.j2", sources=_by_source(gates), layers=LAYERS, runs=runs))
    for page in written.keys() - wanted.keys():
        site.delete(page)
    site.write(_PAGES, json.dumps(wanted, indent=1))
    return site.uri(INDEX)


@dataclass(frozen=True, slots=True)
class _Gate:
    """One gate of one run, counted."""

    source: str
    layer: str
    dag_run_id: str
    newest: int
    checked_at: Any
    expectations: int
    failed: int
    warned: int
    quarantining: int
    """expectations that hold rows back"""
    quarantined: int
    """rows that they hold, those with two reasons twice"""

    @property
    def state(self) -> str:
        return "fail" if self.failed else "warn" if self.warned or self.quarantining else "pass"

    @property
    def met(self) -> int:
        return self.expectations - self.failed - self.warned - self.quarantining

    @property
    def page(self) -> str:
        run = re.sub(r"[^A-Za-z0-9_.-]", "-", self.dag_run_id)
        return f"{self.source}/{run}/{self.layer}.html"


def _last_runs(gates: Iterable[_Gate], runs: int) -> list[_Gate]:
    """Those of the last runs of each source; they come newest first."""
    kept: dict[str, dict[str, None]] = {}
    last = []
    for gate in gates:
        of_source = kept.setdefault(gate.source, {})
        if gate.dag_run_id in of_source or len(of_source) < runs:
            of_source[gate.dag_run_id] = None
            last.append(gate)
    return last


def _by_source(gates: Iterable[_Gate]) -> dict[str, dict[str, dict[str, _Gate]]]:
    """Source -> run -> layer -> gate, newest run first."""
    sources: dict[str, dict[str, dict[str, _Gate]]] = {}
    for gate in gates:
        sources.setdefault(gate.source, {}).setdefault(gate.dag_run_id, {})[gate.layer] = gate
    return sources


def _template(name: str, **values: object) -> str:
    return _templates().get_template(name).render(**values)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["thousands"] = lambda number: "" if number is None else f"{number:,}"
    templates.filters["time"] = lambda time: f"{time:%Y-%m-%d %H:%M:%S} UTC"
    return templates


class _Site(Protocol):
    """Where pages go."""

    def read(self, page: str) -> str | None: ...

    def write(self, page: str, text: str) -> None: ...

    def delete(self, page: str) -> None: ...

    def uri(self, page: str) -> str: ...


def _site(docs_uri: str, s3: S3Client | None) -> _Site:
    parts = urlsplit(docs_uri)
    if parts.scheme == "s3":
        if s3 is None:
            raise ValueError(f"{docs_uri}: an s3:// URI needs a client: write_data_docs(…, s3=client)")
        return _Bucket(s3, parts.netloc, "/".join(filter(None, (parts.path.strip("/"), "data_docs"))))
    if parts.scheme not in ("file", ""):
        raise ValueError(f"{docs_uri}: Data Docs go to a folder (file://…) or to s3://bucket/prefix")
    return _Folder(Path(unquote(parts.path) if parts.scheme else docs_uri).resolve() / "data_docs")


@dataclass(frozen=True)
class _Folder:
    root: Path

    def read(self, page: str) -> str | None:
        try:
            return (self.root / page).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def write(self, page: str, text: str) -> None:
        path = self.root / page
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(text)
        temporary = Path(file.name)
        temporary.chmod(0o644)
        temporary.replace(path)

    def delete(self, page: str) -> None:
        path = self.root / page
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()

    def uri(self, page: str) -> str:
        return (self.root / page).as_uri()


@dataclass(frozen=True)
class _Bucket:
    client: S3Client
    bucket: str
    prefix: str

    def read(self, page: str) -> str | None:
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self._key(page))
        except self.client.exceptions.NoSuchKey:
            return None
        return answer["Body"].read().decode()

    def write(self, page: str, text: str) -> None:
        kind = "text/html; charset=utf-8" if page.endswith(".html") else "application/json"
        self.client.put_object(
            Bucket=self.bucket, Key=self._key(page), Body=text.encode(), ContentType=kind, CacheControl="no-cache"
        )

    def delete(self, page: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self._key(page))

    def uri(self, page: str) -> str:
        return f"s3://{self.bucket}/{self._key(page)}"

    def _key(self, page: str) -> str:
        return f"{self.prefix}/{page}"
