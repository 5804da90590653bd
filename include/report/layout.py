"""Facts -> the report's page, plain text and images."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from include.report import charts, wording
from include.report.facts import Facts

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Rendered:
    """A report, laid out.

    Attributes:
        subject: One line: the mail's subject.
        text: All of it as plain text.
        html: The page, which shows the image `name` as `cid:name`.
        page: The same with the images in it: one file that opens anywhere.
        images: Name -> PNG.
    """

    subject: str
    text: str
    html: str
    page: str
    images: Mapping[str, bytes]


def render(facts: Facts, links: Mapping[str, str] | None = None) -> Rendered:
    """Lay a report out.

    Args:
        facts: what `collect` has found.
        links: label -> URL, for the foot of the page.
    """
    images = {chart.name: charts.draw(chart) for subject in facts.subjects for chart in subject.charts}
    inline = {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in images.items()}
    values = {"facts": facts, "links": dict(links or {})}
    page = _templates().get_template("report.html.j2")
    return Rendered(
        subject=f"[Sluice] Report of {facts.day}: {facts.summary}",
        text=_templates().get_template("report.txt.j2").render(values),
        html=page.render(values, source_of={name: f"cid:{name}" for name in images}),
        page=page.render(values, source_of=inline),
        images=images,
    )


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("age", "amount", "change", "count", "described", "gates", "moment", "remark", "size", "span"):
        templates.filters[name] = getattr(wording, name)
    templates.globals.update(WORDS=wording.WORDS, width=charts.width, height=charts.height, WIDE=charts.WIDE)
    return templates
