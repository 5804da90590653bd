"""Broken builds, each of which a test of faults has to catch.

    python -m tests.faults.mutations             tries all, and notes the results in the page
    python -m tests.faults.mutations advisory    those whose name has the word

A mutation is a text of the product and what takes its place, in a copy of the project; its test has to fail there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.faults.page import PAGE, with_result
from tests.faults.proxy import NotReached

PROJECT = Path(__file__).resolve().parents[2]
SERVERS = "tests/faults/test_servers.py"
SWEEP = "tests/faults/test_kill_sweep.py"


@dataclass(frozen=True)
class Mutation:
    """One broken build.

    Attributes:
        file: The file that is broken.
        old: The text that is taken out, which stands there once.
        new: What takes its place.
        test: The test that has to fail (pytest's node id, or a file), and
        only: which of its cases (`-k`).
    """

    file: str
    old: str
    new: str
    test: str
    only: str = ""


MUTATIONS = {
    "rows are committed before their bookkeeping": Mutation(
        "include/warehouse/load.py",
        "    session.execute(\n        # what is loaded anew",
        '    session.execute("commit")\n    session.execute(\n        # what is loaded anew',
        f"{SERVERS}::test_a_load_that_loses_its_server_behind_the_copy_leaves_nothing_and_the_next_one_all_of_it_once",
    ),
    "a load appends to what is there": Mutation(
        "include/warehouse/load.py",
        '    session.execute(f"drop table if exists raw.{_quoted(target)}")\n',
        '    target = target + "_" + str(session.execute("select txid_current()")[0][0])\n',
        f"{SERVERS}::test_a_landing_that_is_loaded_twice_is_there_once",
    ),
    "two loads of a partition do not wait for each other": Mutation(
        "include/warehouse/raw.py",
        'session.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"raw.{table.name}|{partition}",))',
        "pass",
        f"{SERVERS}::test_two_loads_of_one_partition_go_one_after_the_other",
    ),
    "publish commits after each mart": Mutation(
        "include/warehouse/publish.py",
        "done = [_publish_one(session, mart, ids) for mart in models]",
        "done = [(_publish_one(session, mart, ids), session.cursor.connection.commit())[0] for mart in models]",
        f"{SERVERS}::test_a_publish_that_loses_its_server_leaves_the_last_good_state",
    ),
    "the manifest is written first": Mutation(
        "include/landing/store.py",
        "        upload = self._begin_part(extension)\n        seen",
        "        key = self._folder + MANIFEST\n"
        "        early = Manifest(**self._about, uri=f's3://{self._store.bucket}/{self._folder}', parts=(), bytes=0,"
        " records=None, sha256='', request={}, asked=(), refused=())\n"
        "        body = early.model_dump_json().encode()\n"
        "        self._store.client.put_object(Bucket=self._store.bucket, Key=key, Body=body)\n"
        "        upload = self._begin_part(extension)\n        seen",
        f"{SERVERS}::test_s3_that_is_killed_during_an_upload_leaves_no_landing_and_the_next_one_is_whole",
    ),
    "an upload that is given up is not aborted": Mutation(
        "include/landing/store.py",
        "            for upload in self._uploads:\n                upload.abort()\n",
        "",
        f"{SERVERS}::test_an_upload_that_fails_leaves_nothing_in_s3",
    ),
    "a publish that is killed in its middle is half there": Mutation(
        "include/warehouse/publish.py",
        "done = [_publish_one(session, mart, ids) for mart in models]",
        "done = [(_publish_one(session, mart, ids), session.cursor.connection.commit())[0] for mart in models]",
        SWEEP,
        "openweather",
    ),
    "a load that is killed behind its COPY leaves rows that nobody has booked": Mutation(
        "include/warehouse/load.py",
        "    session.execute(\n        # what is loaded anew",
        '    session.execute("commit")\n    session.execute(\n        # what is loaded anew',
        SWEEP,
        "openweather",
    ),
}
"""What is broken -> how"""


def try_one(name: str) -> str:
    """Break a copy of the project and run the test there; `caught` if it fails, at the point that it is about."""
    mutation = MUTATIONS[name]
    with tempfile.TemporaryDirectory(prefix="sluice-broken-") as folder:
        copy = Path(folder) / "project"
        left_behind = shutil.ignore_patterns(".git", ".venv", ".sluice", ".*_cache", "__pycache__", ".hypothesis")
        shutil.copytree(PROJECT, copy, ignore=left_behind)
        (copy / ".venv").symlink_to(Path(sys.prefix))
        content = (copy / mutation.file).read_text(encoding="utf-8")
        if content.count(mutation.old) != 1:
            return f"not tried: {mutation.file} has the text {content.count(mutation.old)} times"
        (copy / mutation.file).write_text(content.replace(mutation.old, mutation.new), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", mutation.test]
        command += ["-k", mutation.only] if mutation.only else []
        env = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    print(done.stdout[-2000:])  # noqa: T201 - for whoever runs it
    if NotReached.__name__ in done.stdout:
        return "not tried: the broken build ends before the point"
    return "caught" if done.returncode == 1 and failed else "not caught"


def main() -> int:
    """Try those that the command line names, or all."""
    asked = [name for name in MUTATIONS if not sys.argv[1:] or any(word in name for word in sys.argv[1:])]
    results = {}
    for name in asked:
        results[name] = try_one(name)
        print(f"{results[name]}: {name}", flush=True)  # noqa: T201 - the same
        mutation = MUTATIONS[name]
        test = mutation.test.rpartition("::")[2].rpartition("/")[2]
        PAGE.write_text(with_result(PAGE.read_text(encoding="utf-8"), name, test, results[name]), encoding="utf-8")
    return 0 if set(results.values()) == {"caught"} else 1


if __name__ == "__main__":
    raise SystemExit(main())
