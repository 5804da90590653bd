"""What a notice says: facts of a task or run as Airflow's context tells them, without secrets and personal values.

https://airflow.apache.org/docs/apache-airflow/stable/templates-ref.html lists what a context holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2 import Environment

_LONGEST = 2_000
"""characters of a message; the log has it all"""
_AFTER_A_FAILURE = (
    "Read the log; when the fault is mended, clear the task in Airflow: the run goes on from there. "
    "Readers of analytics keep the last good state."
)
_LAYERS = ("landing", "raw", "staging", "marts", "publish")


@dataclass(frozen=True)
class Notice:
    """One mail's content, before it is laid out.

    Attributes:
        subject: The mail's subject, and its heading.
        state: `fail`, `warn` or `pass`: how grave it is.
        facts: Label -> value, in order.
        message: What was said: the exception's own words, scrubbed.
        findings: Expectations that are not met, a sentence each.
        next_step: What the reader should do.
        links: Label -> URL.
    """

    subject: str
    state: str
    facts: Mapping[str, str]
    message: str = ""
    findings: tuple[str, ...] = ()
    next_step: str = ""
    links: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """As plain text."""
        return _templates().get_template("notice.txt.j2").render(notice=self)

    def html(self) -> str:
        """As a page that mail clients show, dark or light."""
        return _templates().get_template("notice.html.j2").render(notice=self)


def of_failure(context: Mapping[str, Any], source: str) -> Notice:
    """A task has failed for good: no retry follows."""
    ti = context["ti"]
    said = scrubbed(context.get("exception"))
    message, findings, next_step = _taken_apart(said)
    where = _layer(ti.task_id)
    gate = f"the gate of {where} has failed" if ti.task_id.startswith("gate_") else f"{_task(ti)} has failed"
    return Notice(
        subject=f"[Sluice] {source}: {gate}",
        state="fail",
        facts=_facts_of_task(context, source, where),
        message=message or "The task ended without a word: its process was killed, or the machine it ran on is gone.",
        findings=findings,
        next_step=next_step
        or "Read the log; when the fault is mended, clear the task in Airflow: the run goes on from there. "
        "Readers of analytics keep the last good state.",
        links=_links(ti),
    )


def of_retry(context: Mapping[str, Any], source: str) -> Notice:
    """A task has failed and will be tried again."""
    ti = context["ti"]
    message, findings, _ = _taken_apart(scrubbed(context.get("exception")))
    return Notice(
        subject=f"[Sluice] {source}: {_task(ti)} is tried again",
        state="warn",
        facts=_facts_of_task(context, source, _layer(ti.task_id)),
        message=message,
        findings=findings,
        next_step="Nothing yet: it is tried again by itself.",
        links=_links(ti),
    )


def of_success(context: Mapping[str, Any], source: str) -> Notice:
    """A run has ended well."""
    run = context.get("dag_run")
    run_id = str(context.get("run_id") or (run.run_id if run else ""))
    facts = {"Source": source, "Run": run_id}
    if run is not None and run.start_date:
        facts["Began"] = _time(run.start_date)
        facts["Took"] = _span((run.end_date or datetime.now(UTC)) - run.start_date)
    return Notice(
        subject=f"[Sluice] {source}: the run has ended well",
        state="pass",
        facts=facts,
        links={"The run in Airflow": _run_url(source, run_id)},
    )


def of_deadline(context: Mapping[str, Any], source: str, minutes: int) -> Notice:
    """A run has not ended in time; the context holds `dag_run` as REST gives it, and `deadline`."""
    run = context["dag_run"]
    return Notice(
        subject=f"[Sluice] {source}: the run is late",
        state="warn",
        facts={
            "Source": source,
            "Run": str(run["dag_run_id"]),
            "State": str(run["state"]),
            "Due": _time(run.get("logical_date")),
            "Deadline": f"{_time(context['deadline']['deadline_time'])}, {minutes} minutes after",
        },
        next_step="See which task it waits for. Readers of analytics keep the last good state until it publishes.",
        links={"The run in Airflow": _run_url(str(run["dag_id"]), str(run["dag_run_id"]))},
    )


def scrubbed(fault: object) -> str:
    """An exception's message as far as it may leave the house.

    Airflow's masker takes out every secret that it knows. Of values of rows our own messages are free; those of others
    (Postgres names the key that is there twice, pydantic the input) lose what is quoted and all but their first line.
    """
    if fault is None:
        return ""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    text = str(redact(str(fault)))
    text = re.split(r"\b(?:DETAIL|CONTEXT|HINT):|\binput_value=", text)[0].rstrip(" [\n")
    if not _is_own(fault):
        first = next(iter(text.strip().splitlines()), "")
        text = f"{type(fault).__name__}: {_QUOTED.sub('…', first)}"
    for pattern in _PERSONAL:
        text = pattern.sub("…", text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " … (the log has it all)"


_QUOTED = re.compile(r"(['\"])(?:(?!\1).)*\1")
_PERSONAL = (
    re.compile(r"[^\s@<>\"'(]+@[^\s@<>\"')]+\.\w+"),  # a mail address
    re.compile(r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b"),  # an IBAN
)


def _is_own(fault: object) -> bool:
    """Whether the message was written by us, or by Airflow for us to give to it."""
    return type(fault).__module__.startswith(("include.", "airflow."))


def _taken_apart(said: str) -> tuple[str, tuple[str, ...], str]:
    """Message, findings and what to do: a gate's exception has them as lines `  - …` and `What to do: …`."""
    message, findings, next_step = [], [], ""
    for line in said.splitlines():
        if line.startswith("  - "):
            findings.append(line.removeprefix("  - "))
        elif line.startswith("What to do: "):
            next_step = f"Read {line.removeprefix('What to do: ')}."
        elif line.strip():
            message.append(line)
    return "\n".join(message).rstrip(":"), tuple(findings), next_step


def _facts_of_task(context: Mapping[str, Any], source: str, layer: str | None) -> dict[str, str]:
    ti = context["ti"]
    facts = {"Source": source, "Task": _task(ti)}
    if layer:
        facts["Layer"] = layer
    facts["Run"] = str(ti.run_id)
    most = getattr(ti, "max_tries", None)
    facts["Try"] = f"{ti.try_number} of at most {most + 1}" if most is not None else str(ti.try_number)
    if begun := getattr(ti, "start_date", None):
        facts["Began"] = _time(begun)
        facts["Ran"] = _span((getattr(ti, "end_date", None) or datetime.now(UTC)) - begun)
    return facts


def _task(ti: Any) -> str:  # noqa: ANN401 - Airflow's runtime task instance, or one that its DAG processor makes up
    index = getattr(ti, "map_index", -1)
    return f"{ti.task_id}[{index}]" if index is not None and index >= 0 else str(ti.task_id)


def _layer(task_id: str) -> str | None:
    name = task_id.split(".", 1)[0].removeprefix("gate_")
    return name if name in _LAYERS else None


def _links(ti: Any) -> dict[str, str]:  # noqa: ANN401 - the same
    return {"The log": str(ti.log_url), "The run in Airflow": _run_url(str(ti.dag_id), str(ti.run_id))}


def _run_url(dag_id: str, run_id: str) -> str:
    from airflow.sdk.configuration import conf

    base = str(conf.get("api", "base_url", fallback="http://localhost:8080")).rstrip("/")
    return f"{base}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def _time(moment: object) -> str:
    """A datetime or ISO 8601 text, to the second."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(moment, datetime) else "-"


def _span(time: Any) -> str:  # noqa: ANN401 - a timedelta, or pendulum's
    seconds = max(0, int(time.total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    return f"{seconds} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{hours} h {minutes % 60} min"


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
