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
    "many_ends": waits.ten_thousand_that_end,
    "start": waits.thousand_at_once,
    "detection": waits.detection,
    "emulator": emulator.start,
    "pages": emulator.pages,
}
NOTES = (
    "The peer of waits is a trigger as the amazon provider's deferrable operators have them: `AwsBaseWaiterTrigger`, a custom waiter, a",
    "client of aiobotocore for each. Both run in a process of their own, which has loaded what a triggerer has, against the emulator in",
    "another one; what is slow to load is loaded before, unless it says otherwise. A block is the longest time for which a task that",
    "sleeps 5 ms at a time was late; of that the process itself had the processor for no longer than the second figure, and others for",
    "the rest. Imports are those of compiled modules.",
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
        RESULTS.write_text(page("Measured", NOTES, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
