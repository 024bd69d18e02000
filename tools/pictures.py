"""
Draws the pictures in ``docs/pictures/``: ``make docs``.

The graph of each example Dag is drawn from the Dag itself: a box for each task, layers from top to bottom, and no edge that follows from
others. All colours are legible on a light and on a dark page.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from itertools import chain, pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from tools.excerpts import FOLDER as EXAMPLES

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"

#: Height of a box, gaps between boxes, margin of the picture and of groups, in pixels.
_HEIGHT, _GAP_X, _GAP_Y, _MARGIN, _INSET = 40, 28, 30, 14, 14
#: Widths of a character of the label and of the class name, in pixels; texts are set to this width, whatever font there is.
_LABEL_WIDTH, _CLASS_WIDTH = 7.6, 6.3
#: Fill and border of boxes; a middle grey for lines on any background.
_KINDS = {"operator": ("#dbe7fb", "#3a6ac4"), "sensor": ("#fdebc8", "#a9700f"), "teardown": ("#eadff7", "#7a4bb5")}
_OTHER = ("#e7e9ec", "#6b7280")
_LINE, _TEXT = "#737b86", "#1b1f24"


def build_pictures() -> dict[str, str]:
    """Build all pictures; returns their text by name below ``docs/pictures/``."""
    return {f"{path.stem}.svg": draw_dag(load_dag(path)) for path in sorted(EXAMPLES.glob("*.py"))}


def load_dag(path: Path) -> Any:
    """Load the Dag of an example, whose identifier is the name of its file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # As in the recipe of the importlib documentation (Importing a source file directly).
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return next(value for value in vars(module).values() if getattr(value, "dag_id", "") == path.stem)


def draw_dag(dag: Any) -> str:
    """Draw the graph of a Dag as SVG."""
    followers = reduce_edges({task.task_id: set(task.downstream_task_ids) for task in dag.topological_sort()})
    layers, routes = arrange_in_layers(followers)
    boxes = _place_boxes(dag, layers)
    groups = [group for name, group in dag.task_group.get_task_group_dict().items() if name]
    beside = max((len(_name_group(group)) * _LABEL_WIDTH + 20 for group in groups), default=0)
    width = max(x + w for x, _, w in boxes.values()) + _MARGIN + beside
    height = max(y for _, y, _ in boxes.values()) + _HEIGHT + _MARGIN + (_INSET if groups else 0)
    edges = [_draw_edge([boxes[name] for name in route]) for route in routes]
    tasks = [_draw_task(task, boxes[task.task_id]) for task in dag.topological_sort()]
    parts = [*(_draw_group(group, boxes) for group in groups), *edges, *tasks]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="Helvetica, Arial, sans-serif" role="img" aria-label="Tasks of {escape(dag.dag_id)}">'
    )
    arrow = (
        f'<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{_LINE}"/></marker></defs>'
    )
    return "\n".join([head, arrow, *parts, "</svg>"]) + "\n"


def reduce_edges(followers: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """
    Return the edges that do not follow from others.

    :param followers: The tasks directly after each task, in topological order.
    """
    reachable: dict[str, set[str]] = {}
    for name in reversed(list(followers)):
        reachable[name] = followers[name].union(*(reachable[after] for after in followers[name]))
    return {
        name: {after for after in direct if not any(after in reachable[other] for other in direct)}
        for name, direct in followers.items()
    }


def arrange_in_layers(followers: Mapping[str, set[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """
    Return the names in each layer, from left to right, and the names along each edge.

    Each task is one layer below the last of those before it. An edge that spans several layers has a name of its own in each of them, so
    that it leads past the boxes.

    :param followers: The tasks directly after each task, in topological order.
    """
    depth = dict.fromkeys(followers, 0)
    for name, after in followers.items():
        for other in after:
            depth[other] = max(depth[other], depth[name] + 1)
    # A task without predecessors stands right above the first that needs it.
    led = {other for after in followers.values() for other in after}
    for name, after in followers.items():
        if name not in led and after:
            depth[name] = min(depth[other] for other in after) - 1
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in followers:
        layers[depth[name]].append(name)
    routes = []
    for name, after in followers.items():
        for other in sorted(after):
            between = {level: f"{name}>{other}>{level}" for level in range(depth[name] + 1, depth[other])}
            for level, waypoint in between.items():
                layers[level].append(waypoint)
            routes.append([name, *between.values(), other])
    before = {
        second: [first for route in routes for first, then in pairwise(route) if then == second]
        for second in chain(*layers)
    }
    for above, layer in pairwise(layers):
        layer.sort(key=lambda name: _average(above.index(first) for first in before[name]))
    return layers, routes


def _average(numbers: Iterable[float]) -> float:
    found = list(numbers)
    return sum(found) / len(found) if found else 0.0


def _name_class(task: Any) -> str:
    name = str(task.task_type).removeprefix("CleanRooms").removeprefix("ML").removesuffix("Operator")
    return "@task" if name.startswith("_") else name


def _place_boxes(dag: Any, layers: list[list[str]]) -> dict[str, tuple[float, float, float]]:
    """Return left edge, top edge and width of each box; layers are centred."""
    widths = dict.fromkeys(chain(*layers), 4.0)
    for task in dag.tasks:
        label = max(len(task.label) * _LABEL_WIDTH, len(_name_class(task)) * _CLASS_WIDTH)
        widths[task.task_id] = label + 24
    rows = [sum(widths[name] for name in layer) + _GAP_X * (len(layer) - 1) for layer in layers]
    boxes: dict[str, tuple[float, float, float]] = {}
    inset = _MARGIN + (_INSET if len(dag.task_group.get_task_group_dict()) > 1 else 0)
    top = float(inset)
    for layer, row in zip(layers, rows, strict=True):
        left = inset + (max(rows) - row) / 2
        for name in layer:
            boxes[name] = (left, top, widths[name])
            left += widths[name] + _GAP_X
        top += _HEIGHT + _GAP_Y
    return boxes


def _name_group(group: Any) -> str:
    return f"{group.group_id}{' [mapped]' if type(group).__name__ == 'MappedTaskGroup' else ''}"


def _draw_group(group: Any, boxes: Mapping[str, tuple[float, float, float]]) -> str:
    inside = [boxes[task.task_id] for task in group.iter_tasks()]
    left, right = min(x for x, _, _ in inside) - _INSET, max(x + w for x, _, w in inside) + _INSET
    top, bottom = min(y for _, y, _ in inside) - 12, max(y for _, y, _ in inside) + _HEIGHT + 12
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{right - left:.0f}" height="{bottom - top:.0f}" rx="8" fill="none" '
        f'stroke="{_LINE}" stroke-dasharray="5 4"/>'
        f'<text x="{right + 10:.0f}" y="{(top + bottom) / 2 + 4:.0f}" font-size="12" fill="{_LINE}">{escape(_name_group(group))}</text>'
    )


def _draw_edge(route: list[tuple[float, float, float]]) -> str:
    """Draw the edge between the first and the last box; those in between are waypoints, which it passes from top to bottom."""
    points = [(x + w / 2, y) for x, y, w in route]
    x, y = points[0]
    path = f"M{x:.0f} {y + _HEIGHT:.0f}"
    for (x1, y1), (x2, y2) in pairwise(points):
        start, end = y1 + _HEIGHT, y2 - (1 if (x2, y2) == points[-1] else 0)
        bend = (end - start) / 2
        path += f"C{x1:.0f} {start + bend:.0f} {x2:.0f} {end - bend:.0f} {x2:.0f} {end:.0f}"
        if (x2, y2) != points[-1]:
            path += f"V{y2 + _HEIGHT:.0f}"
    return f'<path d="{path}" fill="none" stroke="{_LINE}" stroke-width="1.5" marker-end="url(#arrow)"/>'


def _choose_colours(task: Any) -> tuple[str, str]:
    if task.is_teardown:
        return _KINDS["teardown"]
    if str(task.task_type).endswith("Sensor"):
        return _KINDS["sensor"]
    return _KINDS["operator"] if str(task.task_type).startswith("CleanRooms") else _OTHER


def _draw_task(task: Any, box: tuple[float, float, float]) -> str:
    left, top, width = box
    fill, border = _choose_colours(task)
    middle = left + width / 2
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{_HEIGHT}" rx="6" fill="{fill}" stroke="{border}"/>'
        f'<text x="{middle:.0f}" y="{top + 17:.0f}" font-size="13" font-weight="bold" text-anchor="middle" fill="{_TEXT}">'
        f"{escape(task.label)}{' [mapped]' if task.is_mapped else ''}</text>"
        f'<text x="{middle:.0f}" y="{top + 32:.0f}" font-size="11" text-anchor="middle" fill="{_TEXT}">{escape(_name_class(task))}</text>'
    )


def main() -> None:
    """Write the pictures, and remove those of examples that no longer exist."""
    FOLDER.mkdir(exist_ok=True)
    pictures = build_pictures()
    for path in FOLDER.glob("example_*.svg"):
        if path.name not in pictures:
            path.unlink()
    for name, text in pictures.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
