"""The options of an erasure, apart from it: the launcher builds its parser for every command, and in no time."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of an erasure."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a source whose source.yml says which field tells persons apart"
    )
    parser.add_argument(
        "--person",
        required=True,
        metavar="VALUE",
        help="what that field holds; - reads it from standard input, so that no shell and no process list shows it",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask whether to go on")
    parser.add_argument("--dry-run", action="store_true", help="only say what there is of the person")
