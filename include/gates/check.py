"""A layer's gate, run by Great Expectations: rules and rows in, verdict out.

Great Expectations is imported by the functions here, never with the module: its import costs seconds, and DAG files
import this package.

What was measured (3 M rows, 12 expectations, one hand-written aggregate = 1): a query asset without a temporary table
takes 11, because Great Expectations 1.24 then reads the whole result to learn its columns; result format SUMMARY
takes 8; BASIC with `partial_unexpected_count: 0` takes 2.6, as much as BOOLEAN_ONLY, and it counts. So a table's
slice is a table asset with a filter, judged in one pass that fetches counts and no row. Only of what has failed is
asked again which rows it was: all that are to be quarantined, a few to be named of the others. That second question
uses SUMMARY, for COMPLETE fetches the values of all unexpected rows, whatever their number.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from io import StringIO
from typing import TYPE_CHECKING, Any

from include.gates.rules import KEY, LAYERS, Gates, GatesError, Layer, OnFailure, Rule, TableGate, raw_table
from include.gates.sentences import observed_text, reason_text, sentence
from include.gates.verdict import Held, Key, Reason, Result, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
    from great_expectations.datasource.fluent.sql_datasource import TableAsset
    from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
    from great_expectations.expectations.expectation import Expectation
    from sqlalchemy import URL, Engine

LANDING_ID, ROW = KEY

_NOT_EMPTY = Rule.model_construct(
    expectation="expect_table_row_count_to_be_between",
    arguments={"min_value": 1},
    on_failure=OnFailure.FAIL,
    why="built in: of no rows every other expectation is true",
)
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
_SHOWN_OF_A_PROFILE = 3
_NAMED_OF_A_FAILURE = 3
_MOST_HELD = 100_000
"""rows that one rule may hold at once, whatever the share: their keys are held in memory"""
_LOST_ROWS = (
    "select landing.landing_id from ops.landing "
    "left join (select _landing_id, count(*) as row_count from {batch} as judged {of_landings}group by _landing_id) "
    "as held on landing.landing_id = held._landing_id "
    "where landing.landing_id in ({landing_ids}) and landing.entity in ({entities}) "
    "and coalesce(landing.loaded_rows, -1) <> coalesce(held.row_count, 0)"
)
# Rows that a later landing has marked as absent stand below 0: its load is not booked with them.
_OF_LANDINGS = f"where coalesce({ROW}, 0) >= 0 "
_OF_JSON = re.compile(r"\{(text|kind):([\w.]+):([\w.]+)\}")
_BOUND = re.compile(r" [<>]=? %\((\w+)\)s(?= AND |\))")
"""a parameter that a value is compared with, and nothing else"""
_ROW_COUNT = "expect_table_row_count"
_UNJUDGED = "not judged:"
_SAFE_ERRORS = ("Undefined", "Insufficient", "Ambiguous", "Datatype", "QueryCanceled", "Syntax")
"""SQL errors about names, types and rights. The text of others may quote a value of a row."""


def validate_expectations(gates: Gates) -> None:
    """Have Great Expectations check the arguments of every expectation. Imports Great Expectations.

    Raises:
        GatesError: an argument is unknown, is missing or has a wrong value; one line for each fault.
    """
    faults = []
    for layer in LAYERS:
        for table, gate in gates.layer(layer).items():
            for number, rule in enumerate(gate.expect):
                for each in rule.for_each_column():
                    try:
                        _expectation(each, number)
                    except _ArgumentsError as fault:
                        faults.append(f"{gates.file}: {layer}.{table}[{number}] {fault}")
    if faults:
        raise GatesError("\n".join(dict.fromkeys(faults)))


def check_tables(
    gate: Layer,
    *,
    url: str,
    schema: str,
    landing_ids: Sequence[int],
    entities: Collection[str] | None = None,
    held: Held = lambda _table, _reason: 0,
) -> Verdict:
    """Judge the rows that a run put into the tables of a layer, inside the database.

    A table that has `_landing_id` is judged by the rows of these landings, any other as a whole. Of no rows every
    expectation is true, so a table without rows fails, unless its gate has a row-count expectation of its own.

    Rows that a rule with on_failure `quarantine` finds are named in `Verdict.offending`, for the caller to hold back;
    until then the gate has not passed. Where they are more than the rule's share, it fails as with `fail`.

    Args:
        gate: the layer of a source's gates, `gates.layer("marts")`.
        url: the warehouse, `postgresql://role:password@host:port/database`.
        schema: where the tables lie; the layer's name.
        landing_ids: the run's landings.
        entities: what the run landed. Tables that come from none of these (`from` in gates.yml) are left out; None
            judges all.
        held: how many rows of these landings are held for a reason already: they count for the share.

    Returns:
        The verdict. A table or column that is not there, or an expectation that cannot be evaluated, is a failed one.

    Raises:
        ValueError: there are no landings, or no table is left to be judged: a gate must not pass for want of work.
        sqlalchemy.exc.OperationalError: the database cannot be reached.
    """
    import sqlalchemy as sa

    if not landing_ids:
        raise ValueError(f"gate of {schema}: no landing ids, so there is nothing to judge")
    concerned = {name: table for name, table in gate.items() if table.concerns(entities)}
    if not concerned:
        raise ValueError(
            f"gate of {schema}: none of its tables comes from {', '.join(sorted(entities or ()))}, so nothing would be "
            "judged; name a table for each entity in gates.yml"
        )
    given = sa.make_url(url)
    is_redshift = given.drivername == "redshift"
    address = given.set(
        drivername="redshift+psycopg2" if is_redshift else "postgresql+psycopg2",
        # the rest of a Redshift connection's extra is not for libpq
        query={"sslmode": given.query.get("sslmode", "verify-full")} if is_redshift else given.query,
    )
    columns = _columns(address, schema, tuple(concerned))
    judged: dict[str, list[Result]] = {}
    ready: dict[str, _Suite] = {}
    for name, table in concerned.items():
        there = columns.get(name)
        if there is None:
            fault = f"there is no {schema}.{name}, or {address.username} may not read it"
            suite = _Suite.of(name, schema, table, [], {})
            judged[name] = [_not_judged(suite, rule, fault) for rule in table.rules]
        else:
            ready[name] = _Suite.of(
                name, schema, table, there, _placeholders(table, there, landing_ids, entities), is_redshift=is_redshift
            )
    offending: dict[str, dict[Key, list[Reason]]] = {}
    if ready:
        with _context() as context:
            add: Any = context.data_sources.add_redshift if is_redshift else context.data_sources.add_postgres
            source = add(
                "warehouse", connection_string=address.render_as_string(hide_password=False), create_temp_table=False
            )
            try:
                _compare_as_integers(source.get_execution_engine().engine)
                batches = {}
                for name in ready:
                    ids = landing_ids if LANDING_ID in columns[name] else None
                    asset = source._add_asset(_slice_asset()(name=name, schema_name=schema, landing_ids=ids))
                    batches[name] = asset.add_batch_definition_whole_table("slice")
                judged |= _run(context, ready, batches, show_values=False)
                _name_rows(context, ready, batches, judged)
                offending = _hold_rows(context, ready, batches, judged, held)
            finally:
                source.get_execution_engine().close()
    return Verdict(
        results=tuple(result for name in concerned for result in judged[name]),
        left_out=tuple(name for name in gate if name not in concerned),
        offending=offending,
    )


def check_frame(gate: Layer, frame: pd.DataFrame, *, name: str) -> Verdict:
    """Judge the profile of an entity's landing.

    Args:
        gate: the landing's gates, `gates.layer("landing")`.
        frame: the profile, one row a part (include/landing/profile.py). It is about files, not about people, so that
            messages may quote it: which part, what fault, which column.
        name: the entity.

    Raises:
        ValueError: gates.yml has no gate for the entity.
    """
    if name not in gate:
        raise ValueError(f"gate of landing: gates.yml has none for {name}; it has {', '.join(gate)}")
    suite = _Suite.of(name, "landing", gate[name], list(frame.columns), {})
    with _context() as context:
        asset = context.data_sources.add_pandas("profile").add_dataframe_asset(name)
        batch = asset.add_batch_definition_whole_dataframe("parts")
        judged = _run(context, {name: suite}, {name: batch}, show_values=True, parameters={"dataframe": frame})
        return Verdict(results=tuple(judged[name]))


class _ArgumentsError(Exception):
    """Arguments that the expectation does not take."""


@dataclass(frozen=True)
class _Suite:
    """A table's rules, those that can be asked apart from those that cannot, which have failed already."""

    table: str
    layer: str
    rules: tuple[Rule, ...]
    unaskable: Mapping[int, str]
    placeholders: Mapping[str, str]
    """what stands for `{name}` in a query"""
    has_keys: bool
    """whether its rows say which row of raw they are"""
    is_redshift: bool = False

    @classmethod
    def of(
        cls,
        table: str,
        layer: str,
        gate: TableGate,
        columns: Sequence[str],
        placeholders: Mapping[str, str],
        *,
        is_redshift: bool = False,
    ) -> _Suite:
        rules = gate.rules
        if not any(rule.expectation.startswith(_ROW_COUNT) for rule in rules):
            rules = (_NOT_EMPTY, *rules)
        unaskable = {}
        for number, rule in enumerate(rules):
            missing = [column for column in _columns_of(rule) if column not in columns]
            if missing and rule.expectation != "expect_column_to_exist":
                near = difflib.get_close_matches(missing[0], columns, n=2)
                hint = f"; near are {', '.join(near)}" if near else ""
                unaskable[number] = f"there is no column {', '.join(missing)}{hint}"
        has_keys = set(KEY) <= set(columns)
        return cls(table, layer, rules, unaskable, placeholders, has_keys=has_keys, is_redshift=is_redshift)

    def expectations(self) -> list[Expectation]:
        """The rules that can be asked, as Great Expectations' objects."""
        asked = (number for number in range(len(self.rules)) if number not in self.unaskable)
        return [_expectation(self._filled(number), number) for number in asked]

    def of_rows(self, number: int, limit: int) -> Expectation:
        """A rule once more, to learn which rows it finds."""
        return _expectation(self._filled(number), number, rows=limit)

    def _filled(self, number: int) -> Rule:
        rule = self.rules[number]
        filled = {
            key: _filled(value, self.placeholders, is_redshift=self.is_redshift)
            for key, value in rule.arguments.items()
        }
        return rule.model_copy(update={"arguments": filled})

    def name_of(self, rule: Rule) -> str:
        """What a rule is about: `table.column`."""
        column = ", ".join(_columns_of(rule))
        return f"{self.table}.{column}" if column else self.table

    def reason(self, rule: Rule) -> Reason | None:
        """Why a row that the rule finds is held, if it is one that holds rows."""
        if rule.on_failure is not OnFailure.QUARANTINE:
            return None
        column = ", ".join(_columns_of(rule)) or None
        message = reason_text(rule, self.name_of(rule))
        return {"layer": self.layer, "rule": rule.expectation, "column": column, "message": message}


def _run(
    context: EphemeralDataContext,
    suites: Mapping[str, _Suite],
    batches: Mapping[str, BatchDefinition[Any]],
    *,
    show_values: bool,
    parameters: dict[str, Any] | None = None,
) -> dict[str, list[Result]]:
    """One checkpoint over all tables -> the results of each, in the order of its rules."""
    found = _validate(
        context,
        {table: suite.expectations() for table, suite in suites.items()},
        batches,
        {"result_format": "BASIC", "partial_unexpected_count": _SHOWN_OF_A_PROFILE if show_values else 0},
        parameters,
    )
    return {table: list(_results(suite, found[table], show_values)) for table, suite in suites.items()}


def _validate(
    context: EphemeralDataContext,
    asked: Mapping[str, Sequence[Expectation]],
    batches: Mapping[str, BatchDefinition[Any]],
    result_format: Mapping[str, Any],
    parameters: dict[str, Any] | None = None,
) -> dict[str, dict[int, ExpectationValidationResult]]:
    """Ask expectations of each table -> what Great Expectations found, by the rule's number."""
    import great_expectations as gx

    found: dict[str, dict[int, ExpectationValidationResult]] = {table: {} for table in asked}
    tables, validations = {}, []
    # names of its own for each question to a context: `add` refuses those that are there, and `add_or_update` takes
    # a fifth of a gate's CPU
    number = sum(1 for _ in context.checkpoints.all())
    for table, expectations in asked.items():
        if expectations:
            name = f"{table} {number}"
            suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=list(expectations)))
            definition = gx.ValidationDefinition(name=name, data=batches[table], suite=suite)
            validations.append(context.validation_definitions.add(definition))
            tables[name] = table
    if validations:
        checkpoint = gx.Checkpoint(
            name=f"gate {number}", validation_definitions=validations, result_format=dict(result_format)
        )
        outcomes = context.checkpoints.add(checkpoint).run(batch_parameters=parameters).run_results
        for key, outcome in outcomes.items():
            of_table = found[tables[key.expectation_suite_identifier.name]]
            for result in outcome.results:
                if result.expectation_config and result.expectation_config.meta:
                    of_table[result.expectation_config.meta["rule"]] = result
    return found


def _keys(
    context: EphemeralDataContext,
    suites: Mapping[str, _Suite],
    batches: Mapping[str, BatchDefinition[Any]],
    rules: Mapping[str, Sequence[int]],
    limit: int,
) -> dict[tuple[str, int], list[Key]]:
    """Which rows rules find, so many of each at most; none where Great Expectations cannot say."""
    if not any(rules.values()):
        return {}
    found = _validate(
        context,
        {table: [suites[table].of_rows(number, limit) for number in numbers] for table, numbers in rules.items()},
        {table: batches[table] for table in rules},
        {
            "result_format": "SUMMARY",
            "partial_unexpected_count": limit,
            "unexpected_index_column_names": list(KEY),
            "return_unexpected_index_query": False,
            "exclude_unexpected_values": True,
        },
    )
    keys = {}
    for table, numbers in rules.items():
        for number in numbers:
            outcome = found[table].get(number)
            listed = outcome.result.get("partial_unexpected_index_list") if outcome else None
            pairs = (pair for some in listed or () for pair in zip(some[LANDING_ID], some[ROW], strict=True))
            keys[table, number] = [pair for pair in pairs if None not in pair]
    return keys


def _name_rows(
    context: EphemeralDataContext,
    suites: Mapping[str, _Suite],
    batches: Mapping[str, BatchDefinition[Any]],
    judged: dict[str, list[Result]],
) -> None:
    """Failed results that stop the run name a few of their rows."""
    failed = {
        table: [
            number
            for number, (rule, result) in enumerate(zip(suite.rules, judged[table], strict=True))
            if not result.success and result.on_failure is OnFailure.FAIL and rule.names_rows and _was_judged(result)
        ]
        for table, suite in suites.items()
        if suite.has_keys
    }
    for (table, number), keys in _keys(context, suites, batches, failed, _NAMED_OF_A_FAILURE).items():
        judged[table][number] = _naming(judged[table][number], keys)


def _hold_rows(
    context: EphemeralDataContext,
    suites: Mapping[str, _Suite],
    batches: Mapping[str, BatchDefinition[Any]],
    judged: dict[str, list[Result]],
    held: Held,
) -> dict[str, dict[Key, list[Reason]]]:
    """Raw table -> the rows that rules with on_failure `quarantine` find. Rules over their share fail instead."""
    to_hold: dict[str, list[int]] = {}
    over: dict[str, list[int]] = {}
    for table, suite in suites.items():
        rows = next((r.rows_checked for r in judged[table] if r.expectation.startswith(_ROW_COUNT)), None) or 0
        for number, (rule, result) in enumerate(zip(suite.rules, judged[table], strict=True)):
            if result.success or result.on_failure is not OnFailure.QUARANTINE:
                continue
            if not suite.has_keys:
                fault = f"the table has no {LANDING_ID} and {ROW}, by which rows are quarantined"
                judged[table][number] = replace(_not_judged(suite, rule, fault), on_failure=OnFailure.FAIL)
            elif not _was_judged(result):
                judged[table][number] = replace(result, on_failure=OnFailure.FAIL)
            else:
                before = held(raw_table(suite.layer, table), suite.reason(rule) or {})
                count = (result.rows_unexpected or 0) + before
                is_over = count > Decimal(str(rule.at_most)) * (rows + before) or count > _MOST_HELD
                (over if is_over else to_hold).setdefault(table, []).append(number)
    for (table, number), keys in _keys(context, suites, batches, over, _NAMED_OF_A_FAILURE).items():
        share = f"{suites[table].rules[number].at_most:.3%}".rstrip("0%").rstrip(".")
        said = f"{judged[table][number].message}, and at most {share} % of the rows may be quarantined"
        judged[table][number] = _naming(replace(judged[table][number], on_failure=OnFailure.FAIL, message=said), keys)
    most = max(
        (judged[table][number].rows_unexpected or 0 for table in to_hold for number in to_hold[table]), default=0
    )
    offending: dict[str, dict[Key, list[Reason]]] = {}
    for (table, number), keys in _keys(context, suites, batches, to_hold, most).items():
        suite, result = suites[table], judged[table][number]
        if result.rows_unexpected and not keys:
            fault = "Great Expectations could not say which rows it found"
            judged[table][number] = replace(_not_judged(suite, suite.rules[number], fault), on_failure=OnFailure.FAIL)
        for key in keys:
            of_table = offending.setdefault(raw_table(suite.layer, table), {})
            of_table.setdefault(key, []).append(suite.reason(suite.rules[number]) or {})
        judged[table][number] = _naming(judged[table][number], keys[:_NAMED_OF_A_FAILURE])
    return offending


def _was_judged(result: Result) -> bool:
    return not (result.observed or "").startswith(_UNJUDGED)


def _naming(result: Result, keys: Sequence[Key]) -> Result:
    if not keys:
        return result
    shown = ", ".join(f"({landing_id}, {row})" for landing_id, row in sorted(keys))
    return replace(result, message=f"{result.message}; rows ({LANDING_ID}, {ROW}) such as {shown}")


def _results(suite: _Suite, found: Mapping[int, ExpectationValidationResult], show_values: bool) -> Iterator[Result]:
    for number, rule in enumerate(suite.rules):
        if number in suite.unaskable:
            yield _not_judged(suite, rule, suite.unaskable[number])
        elif number not in found:
            yield _not_judged(suite, rule, "Great Expectations gave no result for it")
        elif fault := _exception(found[number]) or _vacuous(found[number]):
            yield _not_judged(suite, rule, fault)
        else:
            yield _result(suite, rule, found[number], show_values)


def _result(suite: _Suite, rule: Rule, outcome: ExpectationValidationResult, show_values: bool) -> Result:
    detail = outcome.result
    checked = detail.get("element_count")
    unexpected = 0 if checked == 0 else detail.get("unexpected_count")
    if checked is not None:
        checked -= detail.get("missing_count") or 0
    elif rule.expectation.startswith(_ROW_COUNT):
        checked = detail.get("observed_value")
    observed = observed_text(rule, detail, checked, unexpected, show_values=show_values)
    if rule.on_failure is OnFailure.QUARANTINE and unexpected is None:
        unexpected = detail.get("observed_value")  # a query's, whose rows are the table's own
    return Result(
        table=suite.table,
        expectation=rule.expectation,
        column=", ".join(_columns_of(rule)) or None,
        arguments=rule.arguments,
        on_failure=rule.on_failure,
        success=bool(outcome.success),
        rows_checked=checked,
        rows_unexpected=unexpected,
        observed=observed,
        message=sentence(
            rule,
            suite.name_of(rule),
            checked,
            unexpected,
            observed,
            rows="parts" if show_values else "rows",
        ),
        reason=suite.reason(rule),
    )


def _not_judged(suite: _Suite, rule: Rule, fault: str) -> Result:
    return Result(
        table=suite.table,
        expectation=rule.expectation,
        column=", ".join(_columns_of(rule)) or None,
        arguments=rule.arguments,
        on_failure=rule.on_failure,
        success=False,
        rows_checked=None,
        rows_unexpected=None,
        observed=f"{_UNJUDGED} {fault}",
        message=f"{suite.name_of(rule)}: {rule.expectation} could not be judged: {fault}",
    )


def _columns_of(rule: Rule) -> list[str]:
    columns: list[str] = []
    for argument in _COLUMN_ARGUMENTS:
        value = rule.arguments.get(argument, [])
        columns += [value] if isinstance(value, str) else list(value)
    return [] if rule.expectation.startswith("expect_table_columns") else columns


def _placeholders(
    table: TableGate, columns: Collection[str], landing_ids: Sequence[int], entities: Collection[str] | None
) -> dict[str, str]:
    names = [entity for entity in table.entities if entities is None or entity in entities]
    return {
        "{lost_rows}": _LOST_ROWS.replace("{of_landings}", _OF_LANDINGS if ROW in columns else ""),
        "{landing_ids}": ", ".join(str(int(landing_id)) for landing_id in landing_ids),
        "{entities}": ", ".join("'" + name.replace("'", "''") + "'" for name in names) or "null",
    }


def _filled(value: object, placeholders: Mapping[str, str], *, is_redshift: bool) -> object:
    if isinstance(value, str):
        for name, text in placeholders.items():
            value = value.replace(name, text)
        value = _OF_JSON.sub(lambda found: _of_json(*found.groups(), is_redshift=is_redshift), value)
    return value


def _of_json(what: str, column: str, path: str, *, is_redshift: bool) -> str:
    """The text or the kind of what stands at a path in a column of JSON, or of SUPER, as SQL; null for nothing."""
    steps = path.split(".")
    if is_redshift:
        value = column + "".join(f"[{step}]" if step.isdecimal() else f'."{step}"' for step in steps)
        return f"json_typeof({value})" if what == "kind" else f"cast({value} as varchar(65535))"
    # as functions: the braces of a path literal would be placeholders to Great Expectations
    at = ", ".join([column, *(f"'{step}'" for step in steps)])
    return f"jsonb_typeof(jsonb_extract_path({at}))" if what == "kind" else f"jsonb_extract_path_text({at})"


def _exception(outcome: ExpectationValidationResult) -> str | None:
    """Why an expectation could not be evaluated, without what the database may have quoted of a row."""
    info = outcome.exception_info or {}
    # one exception, or one for each metric that it wanted
    exceptions = [info] if "raised_exception" in info else list(info.values())
    raised = [e for e in exceptions if e.get("raised_exception")]
    if not raised:
        return None
    text = " ".join(str(raised[0].get("exception_message", "")).split())
    if error := re.search(r"\(psycopg2\.errors\.(\w+)\) (.*?)(?: LINE \d+:| DETAIL:| HINT:| CONTEXT:| \[SQL:|$)", text):
        kind, said = error.groups()
        return f"{said.strip()} ({kind})" if kind.startswith(_SAFE_ERRORS) else f"the database answered {kind}"
    if "psycopg2" in text or "sqlalchemy" in text.lower():
        return "the database refused the query; its log says why"
    return text[:300] or "Great Expectations gave no reason"


def _vacuous(outcome: ExpectationValidationResult) -> str | None:
    """Great Expectations calls an expectation met when it has no count of the unexpected rows; that is no pass."""
    detail = outcome.result
    if detail.get("element_count") and detail.get("unexpected_count", 0) is None:
        return "Great Expectations could not count the unexpected rows"
    return None


@cache
def _counted_query() -> type[Expectation]:
    """UnexpectedRowsExpectation without its second run of the query, which would fetch the rows themselves."""
    from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation

    class CountedRowsExpectation(UnexpectedRowsExpectation):
        metric_dependencies = ("unexpected_rows_query.row_count",)

        def _validate(self, metrics: dict[str, Any], *_: object, **__: object) -> dict[str, Any]:
            count = metrics["unexpected_rows_query.row_count"]
            return {"success": count == 0, "result": {"observed_value": count}}

    return CountedRowsExpectation


@cache
def _query_of_rows() -> type[Expectation]:
    """UnexpectedRowsExpectation that gives the keys of its rows, however many: Great Expectations' own stops at 200."""
    from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation
    from great_expectations.expectations.metrics.query_metrics.query_table.unexpected_rows_query_table import (
        UnexpectedRowsQueryTable,
    )

    class UnexpectedRowsQueryKeys(UnexpectedRowsQueryTable):
        metric_name = "unexpected_rows_query.keys"

        @classmethod
        def _get_sqlalchemy_records_from_substituted_batch_subquery(
            cls,
            substituted_batch_subquery: str,
            execution_engine: SqlAlchemyExecutionEngine,
            fetch_all: bool = True,  # noqa: ARG003
        ) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = super()._get_sqlalchemy_records_from_substituted_batch_subquery(
                substituted_batch_subquery, execution_engine, fetch_all=True
            )
            return rows

    class KeysOfRowsExpectation(UnexpectedRowsExpectation):
        metric_dependencies = (UnexpectedRowsQueryKeys.metric_name,)

        def _validate(self, metrics: dict[str, Any], *_: object, **__: object) -> dict[str, Any]:
            rows = metrics[UnexpectedRowsQueryKeys.metric_name]
            # in columns, as Great Expectations lists those of its own expectations
            listed = [{name: [row[name] for row in rows] for name in KEY}]
            return {"success": not rows, "result": {"partial_unexpected_index_list": listed}}

    return KeysOfRowsExpectation


def _expectation(rule: Rule, number: int, *, rows: int | None = None) -> Expectation:
    """The rule as Great Expectations' object, its number in `meta` to find the result by.

    With `rows` it is to say which rows it finds, so many at most.
    """
    _quiet()
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        kind: Any
        arguments = rule.arguments
        if rule.expectation != "unexpected_rows_expectation":
            kind = get_expectation_impl(rule.expectation)
        elif rows is None:
            kind = _counted_query()
        else:
            kind, query = _query_of_rows(), str(arguments["unexpected_rows_query"]).rstrip("; \t\r\n")
            keys = f"select distinct {', '.join(KEY)} from ({query}) as found limit {rows}"  # noqa: S608
            arguments = {**arguments, "unexpected_rows_query": keys}
        # it prints that a query ought to name its batch, which a rule that compares tables does not
        with redirect_stdout(StringIO()):
            expectation: Expectation = kind(**arguments, meta={"rule": number})
    except ValidationError as faults:
        allowed = [*kind.domain_keys, *kind.success_keys]
        # one fault an argument: a union complains once for each of its types
        by_argument = {fault["loc"]: _argument_fault(rule, fault, allowed) for fault in reversed(faults.errors())}
        raise _ArgumentsError(f"{rule.expectation}: {'; '.join(reversed(by_argument.values()))}") from None
    except (TypeError, ValueError, ExpectationNotFoundError) as fault:
        raise _ArgumentsError(f"{rule.expectation}: {' '.join(str(fault).split())}") from None
    return expectation


def _argument_fault(rule: Rule, fault: Mapping[str, Any], allowed: Sequence[str]) -> str:
    argument = ".".join(str(step) for step in fault["loc"] if step != "__root__")
    if fault["type"] == "value_error.extra":
        known = sorted({a for a in allowed if a not in ("batch_id", "condition_parser")})
        return f"no such argument {argument!r}; it takes {', '.join(known)}"
    if fault["type"] == "value_error.missing":
        return f"the argument {argument!r} is missing"
    if argument not in rule.arguments:
        return str(fault["msg"])
    return f"{argument} {rule.arguments[argument]!r}: {fault['msg']}"


def _columns(address: URL, schema: str, tables: Collection[str]) -> dict[str, list[str]]:
    """The columns of those of the tables that are there and may be read."""
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    # Redshift's information_schema does not show all that may be read
    catalogue = "svv_columns" if address.drivername.startswith("redshift") else "information_schema.columns"
    statement = sa.text(
        f"select table_name, column_name from {catalogue}"  # noqa: S608 - one of two names
        " where table_schema = :schema and table_name in :tables order by ordinal_position"
    ).bindparams(sa.bindparam("tables", expanding=True))
    found: dict[str, list[str]] = {}
    with sa.create_engine(address, poolclass=NullPool).connect() as connection:
        for table, column in connection.execute(statement, {"schema": schema, "tables": list(tables)}).tuples():
            found.setdefault(table, []).append(column)
    return found


def _compare_as_integers(engine: Engine) -> None:
    """Have the database compare integers with bounds that are whole as what they are.

    Great Expectations makes a double of every bound, and with 265.0 Postgres compares each row's bigint as a numeric:
    a third of what a gate's main query takes.
    """
    import sqlalchemy as sa

    @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
    def whole(_connection: object, _cursor: object, statement: str, given: object, *_: object) -> tuple[str, object]:
        if not isinstance(given, Mapping):
            return statement, given
        bounds = {name: given.get(name) for name in _BOUND.findall(statement)}
        are_whole = {name: int(one) for name, one in bounds.items() if isinstance(one, float) and one.is_integer()}
        return statement, {**given, **are_whole}


@cache
def _slice_asset() -> Callable[..., TableAsset]:
    """A table asset of some landings' rows.

    Great Expectations offers a filter for a batch by sampling and by partitions alone. Partitions it lists first, by a
    full scan, and takes one at a time; so this asks its engine for the "sample" of the rows in a list.
    """
    from great_expectations.datasource.fluent.sql_datasource import TableAsset

    class SliceAsset(TableAsset):
        landing_ids: list[int] | None = None

        def _create_batch_spec_kwargs(self) -> dict[str, Any]:
            kwargs: dict[str, Any] = super()._create_batch_spec_kwargs()
            if self.landing_ids is not None:
                kwargs["sampling_method"] = "_sample_using_a_list"
                kwargs["sampling_kwargs"] = {"column_name": LANDING_ID, "value_list": self.landing_ids}
            return kwargs

    return SliceAsset


@contextmanager
def _context() -> Iterator[EphemeralDataContext]:
    """A context of this gate alone, that keeps no file, sends nothing and draws no progress bar."""
    _quiet()
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    yield context


@cache
def _quiet() -> None:
    """Import Great Expectations for the first time: no analytics, and of its log the warnings alone."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    logging.getLogger(gx.__name__).setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(f"{gx.__name__}.") and isinstance(logger, logging.Logger):
            logger.setLevel(logging.NOTSET)  # some modules have set a level of their own
