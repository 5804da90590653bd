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
_OF = "x"
"""the source whose task parses"""


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure; there are at most as many sources as rows."""
    least, most = len(source_names()), min(rows, MOST_SOURCES)
    ways: dict[tuple[str, int], Callable[[], Took]] = {}
    for sources in (least, most):
        project = grown(servers.folder / f"of_{sources}", sources=sources)
        sources_py = str(project.folder / "dags" / "sources.py")
        apart = partial(servers.clock.measure_apart, env=project.env, cwd=project.folder)
        of_task = {"file": sources_py, "dag_id": _OF}
        ways |= {
            ("DAG processor: all files", sources): partial(_all_files, servers, project, sources),
            ("task: its one DAG", sources): partial(apart, "benchmarks.airflow_work:parse_for_task", of_task),
            ("of that, imports", sources): partial(apart, "benchmarks.airflow_work:import_factory", {}),
        }
    ordered = sorted(ways, key=lambda way: list(dict.fromkeys(name for name, _ in ways)).index(way[0]))
    took = in_turn([Way(f"{name}, {sources}", ways[name, sources]) for name, sources in ordered], rounds)

    def seconds(name: str, sources: int) -> float | None:
        return of(took[f"{name}, {sources}"], lambda one: one.seconds)

    return Result(
        f"The {least} sources that there are, and {most}, the others made by the template of a new one. Each parse is "
        "cold, in a fork of a process that has imported Airflow, but neither Cosmos nor anything of ours, and holds no "
        "DAG.",
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
            Goal(f"all DAG files of {most} sources, seconds", seconds("DAG processor: all files", most), at_most=5),
            *(
                Goal(
                    f"a task's parse at {sources} sources, seconds", seconds("task: its one DAG", sources), at_most=0.3
                )
                for sources in (least, most)
            ),
        ],
    )


def _all_files(servers: Servers, project: Grown, sources: int) -> Took:
    """One file after the other, each in a fork of its own; Airflow has two at once."""
    files = sorted((project.folder / "dags").glob("*.py"))
    took = [
        servers.clock.measure_apart(
            "benchmarks.airflow_work:parse_file", {"file": str(file)}, env=project.env, cwd=project.folder
        )
        for file in files
    ]
    found = dict(zip((file.name for file in files), (one.returned for one in took), strict=True))
    if found["sources.py"] != sources:
        raise WayError(f"sources.py has {found['sources.py']} DAGs of {sources} sources")
    return Took(sum(one.seconds for one in took), sum(one.client for one in took), 0)
