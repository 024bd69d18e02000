"""Formats the results of the demo as tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

# The demo runs without a display.
mpl.use("Agg")
from matplotlib import pyplot as plt


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """
    Format a table.

    :param align: A ``<`` or ``>`` for each column.
    """
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    cells = ([f"{x:{a}{w}}" for x, a, w in zip(line, align, widths, strict=True)] for line in lines)
    return "\n".join(f"  {'  '.join(line)}".rstrip() for line in cells)


def compute_recall(ranking: Sequence[str], relevant: Sequence[str], sizes: Mapping[int, int]) -> dict[int, float]:
    """
    Compute the recall of a ranking for several audience sizes.

    :param ranking: User ids, best first.
    :param relevant: Ids of the users to find.
    :param sizes: Numbers of users by percentage; sizes larger than the ranking are left out.
    """
    targets = set(relevant)
    return {
        percent: len(targets.intersection(ranking[:count])) / len(targets)
        for percent, count in sizes.items()
        if count <= len(ranking)
    }


def draw_charts(path: Path, metrics: Mapping[str, Any], shares: Mapping[int, float]) -> None:
    """
    Draw the relevance of each audience size, and its recall compared with that of a random selection.

    :param path: PNG file.
    :param metrics: Metrics of the generation job.
    :param shares: Recall by percentage.
    """
    points = sorted((m["audienceSize"]["value"], m["score"]) for m in metrics["relevanceMetrics"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    left.plot(*zip(*points, strict=True), marker="o", color="#6b3fa0")
    left.axhline(0, linestyle="--", color="#888888", label="same as the seed's own users")
    left.set(
        title="Relevance of the audience",
        xlabel="audience size, % of training users",
        ylabel="relevance score",
        ylim=(-1, 1),
    )
    bins = sorted(shares)
    right.plot(bins, [100 * shares[b] for b in bins], marker="o", color="#6b3fa0", label="this audience")
    right.plot(bins, bins, linestyle="--", color="#888888", label="random")
    right.set(
        title="Recall of held-out users with the seed's preference",
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
