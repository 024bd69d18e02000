"""What the demo shows: tables on the terminal and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """
    Rows in columns.

    :param align: A ``<`` or ``>`` a column.
    """
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    cells = ([f"{x:{a}{w}}" for x, a, w in zip(line, align, widths, strict=True)] for line in lines)
    return "\n".join(f"  {'  '.join(line)}".rstrip() for line in cells)


def recall(ranking: Sequence[str], wanted: Sequence[str], sizes: Mapping[int, int]) -> dict[int, float]:
    """
    Share of the wanted users among the first of a ranking.

    :param ranking: User ids, best first.
    :param wanted: User ids that ought to be found.
    :param sizes: Percentage of the bin to its number of users; a bin longer than the ranking is left out.
    """
    known = set(wanted)
    return {
        percent: len(known.intersection(ranking[:count])) / len(known)
        for percent, count in sizes.items()
        if count <= len(ranking)
    }


def draw(path: Path, metrics: Mapping[str, Any], found: Mapping[int, float]) -> None:
    """
    Relevance of each bin as the service gives it, and recall of each bin from the planted truth beside chance.

    :param path: PNG file.
    :param metrics: The generation job's metrics.
    :param found: Percentage of the bin to its recall.
    """
    points = sorted((m["audienceSize"]["value"], m["score"]) for m in metrics["relevanceMetrics"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    left.plot(*zip(*points, strict=True), marker="o", color="#6b3fa0")
    left.axhline(0, linestyle="--", color="#888888", label="as the seed's own users")
    left.set(
        title="Relevance of the audience",
        xlabel="audience size, % of training users",
        ylabel="relevance score",
        ylim=(-1, 1),
    )
    bins = sorted(found)
    right.plot(bins, [100 * found[b] for b in bins], marker="o", color="#6b3fa0", label="this audience")
    right.plot(bins, bins, linestyle="--", color="#888888", label="chance")
    right.set(
        title="Held-out users of the planted taste found",
        xlabel="audience size, % of training users",
        ylabel="recall, %",
        ylim=(0, 100),
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
        axes.set_xlim(left=0)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
