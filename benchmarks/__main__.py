"""``python -m benchmarks [name …]``: run benchmarks and print their results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import emulator, operators, waits
from benchmarks.table import Row, format_page, format_table

#: All benchmarks, by name: functions that yield rows.
ALL: dict[str, Callable[[], Iterator[Row]]] = {
    "imports": operators.measure_imports,
    "create": operators.measure_create,
    "mapped": operators.measure_mapped_tasks,
    "waits": waits.measure_300_waits,
    "ends": waits.measure_ending_waits,
    "history": waits.measure_long_history,
    "many": waits.measure_10000_waits,
    "many_ends": waits.measure_10000_ends,
    "start": waits.measure_1000_starts,
    "detection": waits.measure_detection,
    "emulator": emulator.measure_start,
    "pages": emulator.measure_pages,
}
NOTES = (
    "The peer of waits is a trigger like those of the amazon provider's deferrable operators: `AwsBaseWaiterTrigger` with a custom waiter",
    "and an aiobotocore client of its own. Each side runs in a process that has imported what a triggerer imports, against an emulator in",
    "another process. Unless noted otherwise, slow imports are done before. A block is the longest delay of a task that sleeps 5 ms at a",
    "time; the second figure is how much of that time the process itself used the processor. The longest collection of garbage is one that",
    "happened by itself; a full collection is forced. Imports are of compiled modules.",
)
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    """Run the benchmarks in the arguments, or all of them and write the results."""
    names = sys.argv[1:] or list(ALL)
    if unknown := [name for name in names if name not in ALL]:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; choose from {', '.join(ALL)}")
    rows: list[Row] = []
    for name in names:
        print(f"Measuring: {name}", file=sys.stderr, flush=True)
        rows += ALL[name]()
    print("\n".join(format_table(rows)))
    if names == list(ALL):
        RESULTS.write_text(format_page("Benchmark results", NOTES, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
