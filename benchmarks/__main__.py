"""``python -m benchmarks [name …]``: measure, print, and keep what was measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import emulator, operators, waits
from benchmarks.table import Row, lines, page

#: What can be measured; a new measurement is a function that yields rows, and a line here.
ALL: dict[str, Callable[[], Iterator[Row]]] = {
    "imports": operators.imports,
    "create": operators.create,
    "mapped": operators.mapped,
    "waits": waits.three_hundred,
    "ends": waits.three_hundred_that_end,
    "history": waits.long_history,
    "many": waits.ten_thousand,
    "start": waits.thousand_at_once,
    "detection": waits.detection,
    "emulator": emulator.start,
    "pages": emulator.pages,
}
NOTES = (
    "The peer of the waits is a trigger like those of the amazon provider's deferrable operators: `AwsBaseWaiterTrigger` with a",
    "custom waiter and an aiobotocore client of its own. Each side runs in a process that has loaded what a triggerer loads; slow",
    "imports come first unless the row says otherwise. The emulator runs in another process. A block is the longest delay of a task",
    'that sleeps 5 ms at a time; the row "processor time alone" counts only the time that the process itself had the processor.',
    "Imports are of compiled modules.",
)
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    """Measure what is named, or everything; everything is kept."""
    names = sys.argv[1:] or list(ALL)
    rows: list[Row] = []
    for name in names:
        print(f"Measuring: {name}", file=sys.stderr, flush=True)
        rows += ALL[name]()
    print("\n".join(lines(rows)))
    if names == list(ALL):
        RESULTS.write_text(page("Benchmark results", NOTES, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
