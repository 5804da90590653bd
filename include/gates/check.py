"""A layer's gate, run by Great Expectations: rules and rows in, verdict out.

Great Expectations is imported by the functions here, never with the module: its import costs seconds, and DAG files
import this package.

What was measured (3 M rows, 12 expectations, one hand-written aggregate = 1): a query asset without a temporary table
takes 11, because Great Expectations 1.24 then reads the whole result to learn its columns; result format SUMMARY
takes 8; BASIC with `partial_unexpected_count: 0` takes 2.6, as much as BOOLEAN_ONLY, and it counts. So a table's
slice is a table asset with a filter, judged in one pass that fetches counts and no row.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from include.gates.rules import LAYERS, Gates, GatesError, Layer, OnFailure, Rule, TableGate
from include.gates.sentences import observed_text, sentence
from include.gates.verdict import Result, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
    from great_expectations.datasource.fluent.sql_datasource import TableAsset
    from great_expectations.expectations.expectation import Expectation
    from sqlalchemy import URL

LANDING_ID = "_landing_id"

_NOT_EMPTY = Rule.model_construct(
    expectation="expect_table_row_count_to_be_between",
    arguments={"min_value": 1},
    on_failure=OnFailure.FAIL,
    why="built in: of no rows every other expectation is true",
)
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
_SHOWN_OF_A_PROFILE = 3
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
) -> Verdict:
    """Judge the rows that a run put into the tables of a layer, inside the database.

    A table that has `_landing_id` is judged by the rows of these landings, any other as a whole. Of no rows every
    expectation is true, so a table without rows fails, unless its gate has a row-count expectation of its own.

    Args:
        gate: the layer of a source's gates, `gates.layer("marts")`.
        url: the warehouse, `postgresql://role:password@host:port/database`.
        schema: where the tables lie; the layer's name.
        landing_ids: the run's landings.
        entities: what the run landed. Tables that come from none of these (`from` in gates.yml) are left out; None
            judges all.

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
    address = sa.make_url(url).set(drivername="postgresql+psycopg2")
    columns = _columns(address, schema, tuple(concerned))
    judged: dict[str, list[Result]] = {}
    ready: dict[str, _Suite] = {}
    for name, table in concerned.items():
        there = columns.get(name)
        if there is None:
            fault = f"there is no {schema}.{name}, or {address.username} may not read it"
            judged[name] = [_not_judged(name, rule, fault) for rule in table.rules]
        else:
            ready[name] = _Suite.of(name, table, there, _placeholders(table, landing_ids, entities))
    if ready:
        with _context() as context:
            source = context.data_sources.add_postgres(
                "warehouse", connection_string=address.render_as_string(hide_password=False), create_temp_table=False
            )
            try:
                batches = {}
                for name in ready:
                    ids = landing_ids if LANDING_ID in columns[name] else None
                    asset = source._add_asset(_slice_asset()(name=name, schema_name=schema, landing_ids=ids))
                    batches[name] = asset.add_batch_definition_whole_table("slice")
                judged |= _run(context, ready, batches, show_values=False)
            finally:
                source.get_execution_engine().close()
    return Verdict(
        results=tuple(result for name in concerned for result in judged[name]),
        left_out=tuple(name for name in gate if name not in concerned),
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
    suite = _Suite.of(name, gate[name], list(frame.columns), {})
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
    rules: tuple[Rule, ...]
    unaskable: Mapping[int, str]
    placeholders: Mapping[str, str]
    """what stands for `{name}` in a query"""

    @classmethod
    def of(cls, table: str, gate: TableGate, columns: Sequence[str], placeholders: Mapping[str, str]) -> _Suite:
        rules = gate.rules
        if not any(rule.expectation.startswith("expect_table_row_count") for rule in rules):
            rules = (_NOT_EMPTY, *rules)
        unaskable = {}
        for number, rule in enumerate(rules):
            missing = [column for column in _columns_of(rule) if column not in columns]
            if missing and rule.expectation != "expect_column_to_exist":
                near = difflib.get_close_matches(missing[0], columns, n=2)
                hint = f"; near are {', '.join(near)}" if near else ""
                unaskable[number] = f"there is no column {', '.join(missing)}{hint}"
        return cls(table, rules, unaskable, placeholders)

    def expectations(self) -> list[Expectation]:
        """The rules that can be asked, as Great Expectations' objects."""
        asked = []
        for number, rule in enumerate(self.rules):
            if number not in self.unaskable:
                filled = {key: _filled(value, self.placeholders) for key, value in rule.arguments.items()}
                asked.append(_expectation(rule.model_copy(update={"arguments": filled}), number))
        return asked


def _run(
    context: EphemeralDataContext,
    suites: Mapping[str, _Suite],
    batches: Mapping[str, BatchDefinition[Any]],
    *,
    show_values: bool,
    parameters: dict[str, Any] | None = None,
) -> dict[str, list[Result]]:
    """One checkpoint over all tables -> the results of each, in the order of its rules."""
    import great_expectations as gx

    validations = []
    for table, suite in suites.items():
        if asked := suite.expectations():
            definition = gx.ValidationDefinition(
                name=table,
                data=batches[table],
                suite=context.suites.add(gx.ExpectationSuite(name=table, expectations=asked)),
            )
            validations.append(context.validation_definitions.add(definition))
    found: dict[str, dict[int, ExpectationValidationResult]] = {table: {} for table in suites}
    if validations:
        checkpoint = gx.Checkpoint(
            name="gate",
            validation_definitions=validations,
            result_format={
                "result_format": "BASIC",
                "partial_unexpected_count": _SHOWN_OF_A_PROFILE if show_values else 0,
            },
        )
        for key, outcome in context.checkpoints.add(checkpoint).run(batch_parameters=parameters).run_results.items():
            of_table = found[key.expectation_suite_identifier.name]
            for result in outcome.results:
                if result.expectation_config and result.expectation_config.meta:
                    of_table[result.expectation_config.meta["rule"]] = result
    return {table: list(_results(suite, found[table], show_values)) for table, suite in suites.items()}


def _results(suite: _Suite, found: Mapping[int, ExpectationValidationResult], show_values: bool) -> Iterator[Result]:
    for number, rule in enumerate(suite.rules):
        if number in suite.unaskable:
            yield _not_judged(suite.table, rule, suite.unaskable[number])
        elif number not in found:
            yield _not_judged(suite.table, rule, "Great Expectations gave no result for it")
        elif fault := _exception(found[number]) or _vacuous(found[number]):
            yield _not_judged(suite.table, rule, fault)
        else:
            yield _result(suite.table, rule, found[number], show_values)


def _result(table: str, rule: Rule, outcome: ExpectationValidationResult, show_values: bool) -> Result:
    detail = outcome.result
    checked = detail.get("element_count")
    unexpected = 0 if checked == 0 else detail.get("unexpected_count")
    if checked is not None:
        checked -= detail.get("missing_count") or 0
    elif rule.expectation.startswith("expect_table_row_count"):
        checked = detail.get("observed_value")
    observed = observed_text(rule, detail, checked, unexpected, show_values=show_values)
    column = ", ".join(_columns_of(rule)) or None
    return Result(
        table=table,
        expectation=rule.expectation,
        column=column,
        arguments=rule.arguments,
        on_failure=rule.on_failure,
        success=bool(outcome.success),
        rows_checked=checked,
        rows_unexpected=unexpected,
        observed=observed,
        message=sentence(
            rule,
            f"{table}.{column}" if column else table,
            checked,
            unexpected,
            observed,
            rows="parts" if show_values else "rows",
        ),
    )


def _not_judged(table: str, rule: Rule, fault: str) -> Result:
    column = ", ".join(_columns_of(rule)) or None
    name = f"{table}.{column}" if column else table
    return Result(
        table=table,
        expectation=rule.expectation,
        column=column,
        arguments=rule.arguments,
        on_failure=rule.on_failure,
        success=False,
        rows_checked=None,
        rows_unexpected=None,
        observed=f"not judged: {fault}",
        message=f"{name}: {rule.expectation} could not be judged: {fault}",
    )


def _columns_of(rule: Rule) -> list[str]:
    columns: list[str] = []
    for argument in _COLUMN_ARGUMENTS:
        value = rule.arguments.get(argument, [])
        columns += [value] if isinstance(value, str) else list(value)
    return [] if rule.expectation.startswith("expect_table_columns") else columns


def _placeholders(table: TableGate, landing_ids: Sequence[int], entities: Collection[str] | None) -> dict[str, str]:
    names = [entity for entity in table.entities if entities is None or entity in entities]
    return {
        "{landing_ids}": ", ".join(str(int(landing_id)) for landing_id in landing_ids),
        "{entities}": ", ".join("'" + name.replace("'", "''") + "'" for name in names) or "null",
    }


def _filled(value: object, placeholders: Mapping[str, str]) -> object:
    if isinstance(value, str):
        for name, text in placeholders.items():
            value = value.replace(name, text)
    return value


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


def _expectation(rule: Rule, number: int) -> Expectation:
    """The rule as Great Expectations' object, its number in `meta` to find the result by."""
    _quiet()
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        counted = rule.expectation == "unexpected_rows_expectation"
        kind: Any = _counted_query() if counted else get_expectation_impl(rule.expectation)
        expectation: Expectation = kind(**rule.arguments, meta={"rule": number})
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

    statement = sa.text(
        "select table_name, column_name from information_schema.columns"
        " where table_schema = :schema and table_name in :tables order by ordinal_position"
    ).bindparams(sa.bindparam("tables", expanding=True))
    found: dict[str, list[str]] = {}
    with sa.create_engine(address, poolclass=NullPool).connect() as connection:
        for table, column in connection.execute(statement, {"schema": schema, "tables": list(tables)}).tuples():
            found.setdefault(table, []).append(column)
    return found


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
