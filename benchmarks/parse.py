"""The DAG files, parsed by a process that has no DAG in memory: what there are sources now, and of 100."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.bench import Goal, Result, Servers
from benchmarks.grown import Grown, grown
from benchmarks.measure import Took, Way, in_turn, of
from benchmarks.worker import WayError
from include.pipeline.model import source_names

MOST_SOURCES = 100
_AT_ONCE = 2
"""files, as Airflow has it by default (`parsing_processes`)"""
_OF = "x"
"""the source whose task parses"""
_ALL, _WARM, _COLD, _IMPORTS = "DAG processor: all files", "task: its one DAG, warm", "… cold", "… of that, imports"


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure; there are at most as many sources as rows."""
    least, most = len(source_names()), min(rows, MOST_SOURCES)
    ways: dict[tuple[str, int], Callable[[], Took]] = {}
    for sources in (least, most):
        project = grown(servers.folder / f"of_{sources}", sources=sources)
        of_task = {"file": str(project.folder / "dags" / "sources.py"), "dag_id": _OF}
        apart = partial(servers.clock.measure_apart, cwd=project.folder)
        warm = project.env | {"SLUICE_WARM": "1"}
        ways |= {
            (_ALL, sources): partial(_all_files, servers, project, sources),
            (_WARM, sources): partial(apart, "benchmarks.airflow_work:parse_for_task_warm", of_task, env=warm),
            (_COLD, sources): partial(apart, "benchmarks.airflow_work:parse_for_task", of_task, env=project.env),
            (_IMPORTS, sources): partial(apart, "benchmarks.airflow_work:import_factory", {}, env=project.env),
        }
    ordered = sorted(ways, key=lambda way: [_ALL, _WARM, _COLD, _IMPORTS].index(way[0]))
    took = in_turn([Way(f"{name}, {sources}", ways[name, sources]) for name, sources in ordered], rounds)

    def seconds(name: str, sources: int) -> float | None:
        return of(took[f"{name}, {sources}"], lambda one: one.seconds)

    return Result(
        f"The {least} sources that there are, and {most}, the others made by the template of a new one. A parse is "
        "done in a fork of a process that has imported Airflow, but neither Cosmos nor anything of ours, and holds no "
        "DAG; warm, of one that holds what `./sluice up` keeps. Of the processor's files "
        f"{_AT_ONCE} are parsed at once.",
        ["parse", "sources", "s", "CPU s", "rounds"],
        [
            [
                name,
                str(sources),
                f"{seconds(name, sources) or 0:.2f}",
                f"{of(runs, lambda one: one.cpu) or 0:.2f}",
                str(len(runs)),
            ]
            for name, sources in ordered
            for runs in [took[f"{name}, {sources}"]]
        ],
        [
            Goal(f"all DAG files of {most} sources, seconds", seconds(_ALL, most), at_most=5),
            Goal(f"a task's parse at {most} sources, warm, seconds", seconds(_WARM, most), at_most=0.3),
            Goal(f"a task's parse at {most} sources, cold, seconds", seconds(_COLD, most), at_most=0.3),
        ],
    )


def _all_files(servers: Servers, project: Grown, sources: int) -> Took:
    """Each file in a fork of its own; beside those of the sources there are the files of the other DAGs."""
    files = sorted((project.folder / "dags").glob("*.py"))
    others = [file.name for file in files if not file.name.startswith("source")]
    took = servers.clock.measure_apart(
        "benchmarks.airflow_work:parse_files",
        {"files": [str(file) for file in files], "at_once": _AT_ONCE},
        env=project.env,
        cwd=project.folder,
    )
    if took.returned != sources + len(others):
        raise WayError(f"the DAG files have {took.returned:.0f} DAGs of {sources} sources and {', '.join(others)}")
    return took
