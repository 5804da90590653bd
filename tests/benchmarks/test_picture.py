"""The picture of a full month is drawn from the table that the document has."""

from pathlib import Path

import pytest

from benchmarks.__main__ import DOCUMENT
from benchmarks.picture import draw, layers


def test_each_layer_of_the_documents_table_is_read_and_drawn(tmp_path: Path) -> None:
    measured = layers(DOCUMENT.read_text())
    layered = [name for layer in ("landing", "raw", "staging", "marts") for name in (layer, f"gate_{layer}")]
    assert [name for name, _ in measured] == [*layered, "publish"]
    assert all(took["s"] > 0 and took["CPU s"] > 0 for _, took in measured)
    draw(measured, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_document_without_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"run benchmarks\.full_month"):
        layers("# Performance\n")
