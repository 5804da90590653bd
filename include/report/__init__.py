"""The daily report: what the sources did, what the subjects say; as HTML with charts and as plain text.

`collect` asks the warehouse for facts (aggregates, nothing personal), `render` lays them out, `archive` keeps them.
"""

from include.report.archive import archive, archived
from include.report.collect import collect
from include.report.expect import Expected, expected
from include.report.facts import Facts, SourceFacts, SubjectFacts
from include.report.layout import Rendered, render

__all__ = [
    "Expected",
    "Facts",
    "Rendered",
    "SourceFacts",
    "SubjectFacts",
    "archive",
    "archived",
    "collect",
    "expected",
    "render",
]
