"""The command itself: a sample is read, what is not asked for is inferred or asked, and the files are written."""

import getpass
import os
import sys
from functools import partial
from pathlib import Path

from local.home import PROJECT, LocalError
from local.new_source import paging, questions
from local.new_source.plan import Plan, Wishes, auth_of, check_format, check_name, is_url, plan, with_url
from local.new_source.sample import Sample, fetch, read_file, read_sample
from local.new_source.write import write

KEY_VARIABLE = "SLUICE_SAMPLE_KEY"


def new_source(name: str, wishes: Wishes, *, ask: questions.Ask | None, project: Path = PROJECT) -> int:
    """Make a source.

    Args:
        name: Its name, which becomes its folder's.
        wishes: What is known of it.
        ask: Puts a question and gives the answer, where somebody is there who has one.
        project: Where to.

    Returns:
        0; the files are there.

    Raises:
        LocalError: Nothing was written; the message says why.
    """
    check_name(name, project)
    check_format(wishes.format)
    if ask:
        wishes = questions.ask_for_sample(wishes, ask)
        wishes = questions.ask_for_address(with_url(wishes), ask)
        wishes = questions.ask_for_key(wishes, ask)
    _require(wishes)
    wishes = with_url(wishes)
    _require_address(wishes)
    sample = _sample(wishes, has_asked=ask is not None)
    if ask:
        wishes = questions.ask_for_rest(wishes, partial(_plan, name, sample), ask)
    decided = _plan(name, sample, wishes)
    _show(decided)
    if ask and ask("Write it? [yes]: ").strip().lower() not in ("", "y", "yes"):
        raise LocalError("nothing was written, as you wished")
    files = write(decided, project)
    print("\nwritten:\n" + "\n".join(f"  {file}" for file in files))
    kept = f"include/sources/{name}/samples"
    print(f"\nLook at {kept} before you commit it: only the columns named above were made up anew.")
    print(f"Next: ./sluice run {name}   on a running stack, or")
    print(f"      ./sluice up{' ' * len(name)}    to start it and run every source")
    return 0


def _plan(name: str, sample: Sample, wishes: Wishes) -> Plan:
    return plan(name, wishes, sample)


def _require(wishes: Wishes) -> None:
    if not wishes.sample:
        raise LocalError("--sample is missing: the URL of the endpoint, or a file with an answer of it")


def _require_address(wishes: Wishes) -> None:
    if missing := [f for f, wish in (("--base-url", wishes.base_url), ("--path", wishes.path)) if not wish]:
        raise LocalError(f"{' and '.join(missing)} must be given where --sample is a file: the address of the API")


def _sample(wishes: Wishes, *, has_asked: bool) -> Sample:
    origin = wishes.sample or ""
    if not is_url(origin):
        return read_sample(read_file(Path(origin)), origin, format=wishes.format, path=wishes.records)
    auth = auth_of(wishes.key)
    key = os.environ.get(KEY_VARIABLE)
    if auth and not key and has_asked:
        key = getpass.getpass("The key, for this one request (it is not kept; none to go without): ") or None
    content = fetch(origin, auth, key)
    if key and key.encode() in content:
        raise LocalError("the answer has the key in it, and would be kept as the sample: give a file, without the key")
    # without a query, which may hold what is nobody's business
    return read_sample(content, origin.partition("?")[0], format=wishes.format, path=wishes.records)


def _show(decided: Plan) -> None:
    sample = decided.sample
    where = ".".join(sample.path) or "the answer itself"
    print(
        f"{len(sample.records)} records of {sample.origin} ({sample.format}{'' if sample.is_file else f', at {where}'})"
    )
    print(f"paging {paging.shown(decided.paging)}, load {decided.mode}, key {', '.join(decided.key_names)}")
    width = max(len(column.name) for column in decided.columns)
    for column in decided.columns:
        notes = [
            f"from {column.original!r}" if column.original != column.name else "",
            "may be missing" if column.optional else "",
            f"personal data: {column.pii}" if column.pii else "",
        ]
        print(f"  {column.name:<{width}}  {column.type:<9}  {'; '.join(filter(None, notes))}".rstrip())
    sys.stdout.flush()
