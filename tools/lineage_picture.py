"""
Draws what OpenLineage knows after a run: datasets as boxes, tasks as arrows.

``python -m tools.lineage_picture EVENTS PICTURE`` reads the file of OpenLineage's file transport and writes an SVG. Identifiers, which
differ between runs, are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

#: Sizes in pixels.
_WIDTH, _HEIGHT, _GAP, _ROW = 158, 52, 108, 84
_MARGIN = 12
_COLOURS = {"Glue table": "#fff3d6", "S3": "#e2f2df", "": "#ece4fb"}

_TITLE = "What OpenLineage records of the Dag example_lookalike_audience"
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    ' font-family="Helvetica, Arial, sans-serif" font-size="13">'
)
_ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
)


class Dataset(NamedTuple):
    """A dataset, by OpenLineage's names."""

    namespace: str
    name: str

    @property
    def label(self) -> tuple[str, str]:
        """Two lines that are the same in each run."""
        if self.namespace.startswith("arn:aws:glue:"):
            return "Glue table", self.name.removeprefix("table/").replace("/", ".")
        if self.namespace.startswith("s3://"):
            folder, slash, _ = self.name.partition("/")
            return "S3", f"{folder}/…" if slash else folder
        words = self.name.split("/")[-2].split("-")
        return (" ".join(words), "") if len(words) < 3 else (words[0], " ".join(words[1:]))


class Edge(NamedTuple):
    """A task that reads one dataset and writes another."""

    source: Dataset
    task: str
    target: Dataset


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read the events that OpenLineage's file transport has written, one a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def find_edges(events: Iterable[Mapping[str, Any]]) -> list[Edge]:
    """Find what the tasks that have succeeded read and wrote, each once."""
    edges = [
        Edge(Dataset(source["namespace"], source["name"]), event["job"]["name"].rpartition(".")[2], _read(target))
        for event in events
        if event["eventType"] == "COMPLETE"
        for source in event.get("inputs", ())
        for target in event.get("outputs", ())
    ]
    return list(dict.fromkeys(edges))


def _read(dataset: Mapping[str, Any]) -> Dataset:
    return Dataset(dataset["namespace"], dataset["name"])


def draw(edges: Iterable[Edge]) -> str:
    """Draw datasets from left to right in the order of the data flow; return an SVG."""
    edges = sorted(edges, key=lambda edge: (edge.source.label, edge.task, edge.target.label))
    places = _place(edges)
    columns, rows = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    width = 2 * _MARGIN + columns * _WIDTH + (columns - 1) * _GAP
    height = 2 * _MARGIN + (rows - 1) * _ROW + _HEIGHT
    lines = [
        _HEAD.format(width=width, height=height),
        f"<title>{_TITLE}</title>",
        _ARROW,
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    lines += [_draw_edge(places[edge.source], places[edge.target], edge.task) for edge in edges]
    lines += [_draw_dataset(place, dataset) for dataset, place in sorted(places.items(), key=lambda item: item[1])]
    return "\n".join([*lines, "</svg>", ""])


def _place(edges: Iterable[Edge]) -> dict[Dataset, tuple[int, int]]:
    """Give each dataset a column and a row: right of all that it is made from; what is made from nothing, left of what it leads to."""
    before: dict[Dataset, list[Dataset]] = {}
    for edge in edges:
        before.setdefault(edge.target, []).append(edge.source)
        before.setdefault(edge.source, [])
    column: dict[Dataset, int] = {}
    for dataset in TopologicalSorter(before).static_order():
        column[dataset] = max((column[source] + 1 for source in before[dataset]), default=0)
    for edge in edges:
        if not before[edge.source]:
            column[edge.source] = column[edge.target] - 1
    places: dict[Dataset, tuple[int, int]] = {}
    for dataset in sorted(column, key=lambda each: (column[each], not before[each], each.label)):
        row = sum(place[0] == column[dataset] for place in places.values())
        places[dataset] = (column[dataset], row)
    return places


def _find_corner(place: tuple[int, int]) -> tuple[int, int]:
    column, row = place
    return _MARGIN + column * (_WIDTH + _GAP), _MARGIN + row * _ROW


def _draw_dataset(place: tuple[int, int], dataset: Dataset) -> str:
    x, y = _find_corner(place)
    first, second = dataset.label
    colour = _COLOURS.get(first, _COLOURS[""])
    weight = "normal" if first in _COLOURS else "bold"
    middle = x + _WIDTH // 2
    text = _draw_text(middle, y + (22 if second else 31), first, "bold")
    if second:
        text += _draw_text(middle, y + 40, second, weight)
    return f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{colour}" stroke="#555"/>{text}'


def _draw_edge(source: tuple[int, int], target: tuple[int, int], task: str) -> str:
    (x1, y1), (x2, y2) = _find_corner(source), _find_corner(target)
    x1, y1, y2 = x1 + _WIDTH, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
    line = f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#555" marker-end="url(#arrow)"/>'
    return line + _draw_text((x1 + x2) // 2, (y1 + y2) // 2 - 7, task, "normal", size=11) if y1 == y2 else line


def _draw_text(x: int, y: int, text: str, weight: str, size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" font-weight="{weight}" font-size="{size}">{escape(text)}</text>'


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(find_edges(read_events(Path(sys.argv[1])))), encoding="utf-8")
