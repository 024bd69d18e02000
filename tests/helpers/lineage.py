"""Events of OpenLineage in a file."""

from __future__ import annotations

import json
from pathlib import Path


def record_lineage(path: Path) -> dict[str, str]:
    """Return the environment variables by which Airflow's OpenLineage provider appends its events to a file."""
    transport = {"type": "file", "log_file_path": str(path), "append": True}
    return {
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        # With this option, which users may set, events have all attributes of an operator.
        "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": "True",
        # Airflow waits for an event for ten seconds, and then drops it: too short on a busy machine.
        "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "120",
    }
