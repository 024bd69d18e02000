"""How many examples each state machine runs."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

#: Environment variable with the number of random examples. If it is not set, the same forty run every time.
EXAMPLES = "AIRFLOW_CLEANROOMSML_EXAMPLES"

_COMMON = settings(
    deadline=None,
    database=None,
    stateful_step_count=12,
    suppress_health_check=[HealthCheck.too_slow],
    report_multiple_bugs=False,
)
#: For planted bugs. A seed fixes the examples, and they are not shrunk: it only matters whether the bug is found.
PLANTED = settings(_COMMON, max_examples=15, phases=[Phase.generate])


def build_settings(share: float = 1.0) -> settings:
    """
    Build the settings of a state machine: as many random examples as the environment variable says, or else forty fixed ones.

    :param share: Share of the random examples to run, for a machine with slow examples.
    """
    number = os.environ.get(EXAMPLES)
    if number:
        return settings(_COMMON, max_examples=max(1, round(share * int(number))), print_blob=True)
    return settings(_COMMON, max_examples=40, derandomize=True)
