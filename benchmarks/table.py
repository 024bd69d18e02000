"""Rows of results, and their format."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("apache-airflow", "apache-airflow-providers-amazon", "boto3", "botocore", "aiobotocore")


@dataclass(frozen=True)
class Row:
    """
    A row of the table.

    :param name: What was measured, with its unit.
    :param ours: Figure of this package.
    :param peer: Figure of the peer; None for none.
    :param target: Target, as text.
    :param met: Whether the target is met.
    """

    name: str
    ours: float
    peer: float | None = None
    target: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> str:
        """The ratio of both figures."""
        if self.peer is None:
            return ""
        # A figure of 0, such as that of calls, has no ratio.
        if not self.ours or not self.peer:
            return "-"
        return f"1/{self.peer / self.ours:.1f}" if self.peer > self.ours else f"{self.ours / self.peer:.1f} times"

    @property
    def cells(self) -> list[str]:
        """The cells of the row."""
        mark = {None: "", True: " ✓", False: " ✗"}[self.met]
        peer = "" if self.peer is None else _format_number(self.peer)
        return [self.name, _format_number(self.ours), peer, self.ratio, f"{self.target}{mark}"]


def build_limit_row(name: str, ours: float, limit: float, peer: float | None = None) -> Row:
    """Build the row of a figure that must not exceed a limit."""
    return Row(name, ours, peer, f"≤ {_format_number(limit)}", ours <= limit)


def build_ratio_row(name: str, ours: float, peer: float, divisor: float) -> Row:
    """Build the row of a figure that must not exceed a fraction of the peer's."""
    return Row(name, ours, peer, f"≤ 1/{divisor:g}", ours * divisor <= peer)


def _format_number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def format_table(rows: Iterable[Row]) -> Iterator[str]:
    """Format a Markdown table."""
    head = ["what", "ours", "peer", "ratio", "target"]
    cells = [head, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for number, line in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def describe_machine() -> Iterator[str]:
    """Describe the machine and the versions of packages."""
    yield f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors ({_find_processor()})"
    yield f"load average of {os.getloadavg()[0]:.1f} at the end: if it is much higher than 1, times are not reliable"
    for package in _PACKAGES:
        with suppress(ModuleNotFoundError):
            yield f"{package} {version(package)}"


def _find_processor() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open() as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or sys.platform


def format_page(title: str, notes: Iterable[str], rows: Iterable[Row]) -> str:
    """Format the page with the results."""
    text = ["# " + title, "", *(f"- {line}" for line in describe_machine()), "", *format_table(rows), "", *notes]
    return "\n".join(text).rstrip() + "\n"
