"""The pictures match the example Dags and the figures that the emulator measures."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version

from tests.helpers.deployment import ROOT
from tools.pictures import FOLDER, arrange_in_layers, build_pictures, reduce_edges

HAS_APPROVALS = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 1)
newest = pytest.mark.skipif(not HAS_APPROVALS, reason="the pictures show the task that approves a size")


@newest
def test_every_example_has_its_current_picture() -> None:
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("example_*.svg")}
    assert on_disk == build_pictures(), "run `make docs`"


def test_every_picture_is_on_a_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert [path.name for path in FOLDER.glob("*.svg") if f"pictures/{path.name})" not in pages] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "howto").glob("*.md")), ids=lambda page: page.stem)
def test_how_to_page_shows_picture_of_its_dag(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    # The page's first example is on a separate line that ends with a colon.
    for example in re.findall(r"^\[`(example_\w+)\.py`\]\([^)]+\):$", text, re.MULTILINE):
        assert f"pictures/{example}.svg)" in text


def test_edge_that_follows_from_others_is_omitted() -> None:
    assert reduce_edges({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_a_long_edge_passes_each_layer() -> None:
    layers, routes = arrange_in_layers({"a": {"b", "e"}, "b": {"c"}, "c": {"d"}, "d": {"e"}, "e": set()})
    (route,) = [route for route in routes if route[0] == "a" and route[-1] == "e"]
    assert [next(index for index, layer in enumerate(layers) if name in layer) for name in route] == [0, 1, 2, 3, 4]


def test_task_without_upstream_is_placed_above_its_downstream() -> None:
    layers, _ = arrange_in_layers({"a": {"b"}, "b": {"c"}, "x": {"c"}, "c": set()})
    assert layers == [["a"], ["b", "x"], ["c"]]


@pytest.mark.skipif(find_spec("sklearn") is None, reason="only the emulator's environment has it")
def test_relevance_curve_matches_the_emulator(empty_moto: None) -> None:
    from tools.relevance_curve import PICTURE, draw, measure, read_figures

    text = PICTURE.read_text(encoding="utf-8")
    figures, measured = read_figures(text), measure()
    assert draw(figures) == text
    assert measured.recall == pytest.approx(figures.recall, abs=0.05)
    assert [each.relevance for each in measured.bins] == pytest.approx(
        [each.relevance for each in figures.bins], abs=0.05
    )
