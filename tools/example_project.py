"""
Write the project of ``docs/howto/test_your_dag.md``: the Dag, its tests and their ``conftest.py``.

``python -m tools.example_project FOLDER`` writes it into a new folder, where ``nox -s installed`` runs it as a user would.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "test_your_dag.md"
#: A paragraph that begins with the name of a file, and the code after it.
_FILE = re.compile(r"^`(?P<name>[\w/]+\.py)`(?:(?!\n\n).)*\n\n```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def read_files(page: str) -> dict[str, str]:
    """Return the files that a page shows, by their names."""
    return {match["name"]: match["code"] for match in _FILE.finditer(page)}


def main(folder: str) -> None:
    """
    Write the files of the page.

    :raises FileExistsError: The folder exists.
    """
    Path(folder).mkdir(parents=True)
    for name, code in read_files(PAGE.read_text(encoding="utf-8")).items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
