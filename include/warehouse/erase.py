"""One person out of the warehouse's rows.

In raw and in quarantine a row of the person keeps its place and all that is not personal; what is personal becomes what
`include.landing.erase` has made of it in the landing, so that loading that again changes nothing. From the models the
person's rows are deleted, to be built anew from raw.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.warehouse.raw import RawTable
from include.warehouse.search import patterns
from include.warehouse.session import PsycopgSession, psycopg_session

ERASED = "erased"


@dataclass(frozen=True)
class PersonalTable:
    """A raw table that holds persons, and its quarantine.

    Attributes:
        table: The raw table.
        person: Member or column that tells persons apart.
        personal: Members or columns of personal data -> whether they are declared as text.
    """

    table: RawTable
    person: str
    personal: Mapping[str, bool]

    @property
    def is_json(self) -> bool:
        """Whether its rows are JSON records."""
        return self.table.columns is None


@dataclass(frozen=True)
class ErasedLanding:
    """What the bookkeeping has to say of a landing from which a person was erased.

    Attributes:
        landing_id: The landing.
        sha256: Hash of its content, now.
        size: Bytes of its objects, now.
        parts: Names of its parts, now, in their order.
    """

    landing_id: int
    sha256: str
    size: int
    parts: Sequence[str]


@dataclass(frozen=True)
class Person:
    """Whom to erase.

    Attributes:
        spellings: What the person field holds in rows of the person, but for white space around it.
        pseudonym: What it is to hold.
        values: All that is known of the person and of nobody else.
    """

    spellings: Sequence[str]
    pseudonym: str
    values: Sequence[str] = ()


@dataclass(frozen=True)
class ModelTable:
    """A table that dbt builds, or that publish has made of one.

    Attributes:
        name: schema.table, quoted.
        ids: Columns that hold the person's value, or a key made of it.
    """

    name: str
    ids: Sequence[str]


def personal_values(dsn: str, tables: Sequence[PersonalTable], spellings: Sequence[str]) -> tuple[int, int, set[str]]:
    """What raw and quarantine hold of a person.

    Returns:
        Rows in raw, rows in quarantine, and all values of personal data in them.
    """
    rows, held, values = 0, 0, set[str]()
    with psycopg_session(dsn) as session:
        for one in tables:
            for schema in ("raw", "quarantine"):
                name = f'{schema}."{one.table.name}"'
                if not _is_there(session, name):
                    continue
                fields = ", ".join(_field(one, field, schema) for field in one.personal)
                found = _run(session, f"select {fields} from {name} where {_is_person(one, schema)}", list(spellings))
                values |= {str(value) for row in found for value in row if value is not None}
                rows, held = (rows + len(found), held) if schema == "raw" else (rows, held + len(found))
    return rows, held, values


def erase_rows(
    dsn: str, tables: Sequence[PersonalTable], person: Person, landings: Sequence[ErasedLanding]
) -> tuple[int, int, int]:
    """Erase a person from raw, quarantine and ops, and book what has become of the landings, in one transaction.

    Args:
        dsn: postgresql:// URI of `sluice_loader`.
        tables: where persons are.
        person: whom to erase.
        landings: those from which the person was erased.

    Returns:
        Rows changed in raw, in quarantine, and in ops but for the booking of the landings.
    """
    with psycopg_session(dsn) as session:
        raw = sum(_erase_raw(session, one, person) for one in tables)
        held = sum(_erase_held(session, one, person) for one in tables)
        for landing in landings:
            _book(session, landing)
        of_ops = 0
        for values, by in ((person.spellings, person.pseudonym), (person.values, ERASED)):
            if found := [value for value in values if value != person.pseudonym]:
                ((count,),) = _run(session, "select ops.erase_text(%s, %s)", patterns(found), by)
                of_ops += int(count)
    return raw, held, of_ops


def landings_of(dsn: str, tables: Sequence[PersonalTable], pseudonym: str) -> list[int]:
    """The landings whose rows in raw are of a person erased before."""
    found: set[int] = set()
    with psycopg_session(dsn) as session:
        for one in tables:
            name = f'raw."{one.table.name}"'
            if _is_there(session, name):
                rows = _run(
                    session, f"select distinct _landing_id from {name} where {_is_person(one, 'raw')}", [pseudonym]
                )
                found |= {int(row[0]) for row in rows}
    return sorted(found)


def delete_person(
    session: PsycopgSession, tables: Sequence[ModelTable], ids: Sequence[str], *, alone: bool
) -> dict[str, int]:
    """Delete the rows of a person from models or published marts, in the caller's transaction.

    A column whose name begins with `previous_` says who a row was of before: it is emptied, and the row stays.

    Args:
        session: as the role that owns the tables.
        tables: those that are not there, and views, are passed over.
        ids: the person's value, and keys made of it.
        alone: wait until nobody reads or writes the tables, and let nobody until the transaction ends: whoever builds
            them now may have read the person before. Not for tables with readers.

    Returns:
        Table -> rows deleted or changed, of those with any.
    """
    changed = {}
    for table in tables:
        if not _run(
            session, "select 1 from pg_class where oid = to_regclass(%s) and relkind in ('r', 'p')", table.name
        ):
            continue  # not built yet; or a view, which holds nothing
        if alone:
            session.execute(f"lock table {table.name} in access exclusive mode")
        count = 0
        for column in table.ids:
            quoted = f'"{column}"'
            if column.startswith("previous_"):
                _run(session, f"update {table.name} set {quoted} = null where {quoted} = any(%s)", list(ids))
            else:
                _run(session, f"delete from {table.name} where {quoted} = any(%s)", list(ids))
            count += session.cursor.rowcount
        if count:
            changed[table.name] = count
    return changed


def _erase_raw(session: PsycopgSession, one: PersonalTable, person: Person) -> int:
    name = f'raw."{one.table.name}"'
    if not _is_there(session, name):
        return 0
    if one.is_json:
        made = _payload(session, one, person)
        key = " || '|' || ".join(f"({made} #>> '{{{path.replace('.', ',')}}}')" for path in one.table.keys)
        changes = f"payload = {made}" + (f", _key = {key}" if one.person in one.table.keys else "")
    else:
        changes = ", ".join(
            f'"{column.lower()}" = {"null" if value is None else _text(session, value)}'
            for column, value in _values(one, person).items()
        )
    _run(session, f"update {name} set {changes} where {_is_person(one, 'raw')}", list(person.spellings))
    count = session.cursor.rowcount
    if one.table.has_request:
        count += _erase_text(session, name, "_request", "jsonb", person)
    return count


def _erase_held(session: PsycopgSession, one: PersonalTable, person: Person) -> int:
    name = f'quarantine."{one.table.name}"'
    if not _is_there(session, name):
        return 0
    made = _payload(session, one, person)
    _run(session, f"update {name} set payload = {made} where {_is_person(one, 'quarantine')}", list(person.spellings))
    return session.cursor.rowcount + sum(
        _erase_text(session, name, column, kind, person)
        for column, kind in (("record", "text"), ("_request", "jsonb"), ("reasons", "jsonb"))
    )


def _erase_text(session: PsycopgSession, table: str, column: str, kind: str, person: Person) -> int:
    """Rows whose text is about the person lose all that is known of the person."""
    spellings = [spelling for spelling in person.spellings if spelling != person.pseudonym]
    others = [value for value in person.values if value not in person.spellings]
    made = f"{column}::text"
    arguments: list[str] = []
    for values, by in ((spellings, person.pseudonym), (others, ERASED)):
        if values:
            made = f"regexp_replace({made}, %s, %s, 'g')"
            arguments += ["|".join(patterns(values)), by]
    if not spellings:
        return 0
    session.execute(
        f"update {table} set {column} = ({made})::{kind} where {column}::text ~ %s",
        [*arguments, "|".join(patterns(spellings))],
    )
    return session.cursor.rowcount


def _book(session: PsycopgSession, landing: ErasedLanding) -> None:
    session.execute(
        "update ops.landing set sha256 = %s, bytes = %s where landing_id = %s",
        (landing.sha256, landing.size, landing.landing_id),
    )
    if not _is_there(session, "ops.landing_part"):
        return
    for name in landing.parts:
        # a part written anew keeps its number, which the name begins with
        session.execute(
            "update ops.landing_part set uri = left(uri, length(uri) - length(part)) || %s, part = %s "
            "where landing_id = %s and part <> %s and starts_with(part, %s)",
            (name, name, landing.landing_id, name, name[: len("part-00001")]),
        )


def _values(one: PersonalTable, person: Person) -> dict[str, str | None]:
    """Field -> what takes the place of its value."""
    return {
        name: person.pseudonym if name == one.person else ERASED if is_text else None
        for name, is_text in one.personal.items()
    }


def _payload(session: PsycopgSession, one: PersonalTable, person: Person) -> str:
    """SQL for a payload in which the members of personal data that it has are replaced."""
    values = {name if one.is_json else name.lower(): value for name, value in _values(one, person).items()}
    given = _text(session, json.dumps(values))
    return (
        "(payload || (select coalesce(jsonb_object_agg(member.key, member.value), '{}') "
        f"from jsonb_each({given}::jsonb) as member where jsonb_exists(payload, member.key)))"
    )


def _is_person(one: PersonalTable, schema: str) -> str:
    return f"btrim({_field(one, one.person, schema)}, e' \\t\\r\\n') = any(%s)"


def _field(one: PersonalTable, name: str, schema: str) -> str:
    """SQL for a field as text; in quarantine, rows of files stand as JSON under the names of their columns."""
    if one.is_json or schema == "quarantine":
        member = (name if one.is_json else name.lower()).replace("'", "''").replace("%", "%%")
        return f"(payload ->> '{member}')"
    return f'"{name.lower()}"::text'


def _text(session: PsycopgSession, value: str) -> str:
    """SQL for a text, for a statement with parameters."""
    return str(session.cursor.mogrify("%s", (value,)).decode()).replace("%", "%%")


def _run(session: PsycopgSession, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    session.cursor.execute(statement, parameters)
    return session.cursor.fetchall() if session.cursor.description else []


def _is_there(session: PsycopgSession, table: str) -> bool:
    return _run(session, "select to_regclass(%s) is not null", table) == [(True,)]
