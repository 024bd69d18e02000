"""How many examples a machine is tried with."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

#: Number of random examples; without it forty that are always the same.
EXAMPLES = "AIRFLOW_CLEANROOMSML_EXAMPLES"

_ALWAYS = settings(
    deadline=None,
    database=None,
    stateful_step_count=12,
    suppress_health_check=[HealthCheck.too_slow],
    report_multiple_bugs=False,
)
#: The same examples every time, by a seed, and no search for a smaller one: what is planted is found, or is not.
PLANTED = settings(_ALWAYS, max_examples=15, phases=[Phase.generate])


def chosen(share: float = 1.0) -> settings:
    """
    Many random examples where that is asked for, else a few that are always the same.

    :param share: Share of the number that is asked for, for a machine whose examples take longer.
    """
    number = os.environ.get(EXAMPLES)
    if number:
        return settings(_ALWAYS, max_examples=max(1, round(share * int(number))), print_blob=True)
    return settings(_ALWAYS, max_examples=40, derandomize=True)
