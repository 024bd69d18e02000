"""
Print what the emulator needs without Airflow: this package's dependencies but Airflow and its provider, and the extra ``emulator``.

``make constraints`` resolves them to ``deploy/emulator/requirements.txt``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def list_requirements() -> list[str]:
    """Return the requirements, without pins."""
    project = nox.project.load_toml(_PYPROJECT)["project"]
    own = [line for line in project["dependencies"] if not line.startswith("apache-airflow")]
    return [*own, *project["optional-dependencies"]["emulator"]]


if __name__ == "__main__":
    sys.stdout.write("\n".join([*list_requirements(), ""]))
