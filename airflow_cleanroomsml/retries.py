"""
A retry policy for the errors of this package; Airflow has retry policies since 3.3.

Without a policy Airflow retries every error that is not final after the task's ``retry_delay``. This one waits for as long as each kind of
error takes to pass. It cannot retry more often than the task's ``retries`` say, and Airflow does not ask it about errors that are final
(:mod:`airflow_cleanroomsml.exceptions`): a refused request, a failed job.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_cleanroomsml import exceptions

try:
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryDecision, RetryRule
except ImportError as _error:
    raise ImportError(
        "airflow_cleanroomsml.retries needs Airflow 3.3 or newer, which has retry policies; with an older one, set retries and retry_delay"
    ) from _error

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context

#: The longest pause before a retry.
LONGEST_DELAY = timedelta(hours=1)
#: Minutes before the first retry, and why; the first entry that fits counts.
_RULES: tuple[tuple[tuple[type[exceptions.CleanRoomsMLError], ...], float, str], ...] = (
    ((exceptions.ThrottledError,), 2, "Too many requests"),
    # Other jobs have to end first, which takes hours; tasks that may wait for a quota by themselves have done so before.
    ((exceptions.QuotaExceededError,), 15, "A quota is used up until other jobs end"),
    ((exceptions.OutcomeUnsettledError,), 2, "The response was lost; the retry looks for the resource first"),
    ((exceptions.UnreachableError, exceptions.UnavailableError), 1, "The service failed or could not be reached"),
    # IAM and listings are eventually consistent.
    (
        (exceptions.AccessDeniedError, exceptions.ResourceNotFoundError),
        1,
        "A new permission or resource may not be visible yet",
    ),
    ((exceptions.ConflictError,), 5, "The resource is being changed"),
)


class CleanRoomsMLRetryPolicy(ExceptionRetryPolicy):
    """
    Retry what may pass by itself, after a pause that fits the error: doubled with each retry, up to an hour, with up to 25 % of jitter.

    Errors of other packages, and those of this one that it does not know, are retried as the task says.

    :param rules: Rules that come before those of this package. Their pauses are kept: neither doubled, limited nor jittered.
    """

    def __init__(self, rules: Sequence[RetryRule] = ()) -> None:
        ours = (
            RetryRule(list(errors), RetryAction.RETRY, timedelta(minutes=minutes), reason)
            for errors, minutes, reason in _RULES
        )
        self._user_rules = tuple(rules)
        super().__init__([*self._user_rules, *ours])

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about a failure; see Airflow's ``RetryPolicy``."""
        decision = super().evaluate(exception, try_number, max_tries, context)
        # Without a delay Airflow uses the task's retry_delay; a user's own rule means the pause that it says.
        if decision.retry_delay is None or any(rule.matches(exception) for rule in self._user_rules):
            return decision
        # The exponent is bounded because a timedelta cannot hold the result of a large one.
        delay = min(decision.retry_delay * 2 ** min(try_number - 1, 10), LONGEST_DELAY)
        return replace(decision, retry_delay=delay * random.uniform(1, 1.25))


__all__ = ["CleanRoomsMLRetryPolicy"]
