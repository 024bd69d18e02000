"""What a measurement says, and how it is shown."""

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
    One line of the table.

    :param what: What was measured, its unit included.
    :param ours: The figure of this package.
    :param peer: The figure of whom it is compared with; None where there is none.
    :param target: What is to be reached, in words.
    :param met: Whether it is.
    """

    what: str
    ours: float
    peer: float | None = None
    target: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> str:
        """Ours as a part of the peer's, or as its multiple."""
        if self.peer is None:
            return ""
        if not self.ours or not self.peer:
            return "-"
        return f"1/{self.peer / self.ours:.1f}" if self.peer > self.ours else f"{self.ours / self.peer:.1f} times"

    @property
    def cells(self) -> list[str]:
        """The line as text."""
        verdict = {None: "", True: " ✓", False: " ✗"}[self.met]
        peer = "" if self.peer is None else _short(self.peer)
        return [self.what, _short(self.ours), peer, self.ratio, f"{self.target}{verdict}"]


def below(what: str, ours: float, limit: float, peer: float | None = None) -> Row:
    """A figure that must not be above a limit."""
    return Row(what, ours, peer, f"≤ {_short(limit)}", ours <= limit)


def part(what: str, ours: float, peer: float, divisor: float) -> Row:
    """A figure that must not be more than a part of the peer's."""
    return Row(what, ours, peer, f"≤ 1/{divisor:g}", ours * divisor <= peer)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The table in Markdown."""
    head = ["what", "ours", "peer", "ratio", "target"]
    cells = [head, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for number, line in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def machine() -> Iterator[str]:
    """Where it was measured, and with what."""
    yield f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors ({_processor()})"
    yield f"{os.getloadavg()[0]:.1f} processes were runnable at the end (load average); well above one, times mean little"
    for package in _PACKAGES:
        with suppress(ModuleNotFoundError):
            yield f"{package} {version(package)}"


def _processor() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open() as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or sys.platform


def page(title: str, notes: Iterable[str], rows: Iterable[Row]) -> str:
    """The page that is kept."""
    text = ["# " + title, "", *(f"- {line}" for line in machine()), "", *lines(rows), "", *notes]
    return "\n".join(text).rstrip() + "\n"
