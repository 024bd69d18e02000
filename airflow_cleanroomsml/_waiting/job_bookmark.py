"""How far a listing of jobs has been followed, so that each job is reported once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from airflow_cleanroomsml._resources.table import OUTCOMES, Goal, Outcome
from airflow_cleanroomsml.exceptions import InvalidRequestError

#: Seconds by which the listing may show a job later than one that was created after it. AWS publishes no such figure; an hour is generous.
_LAG = 3600.0
#: Less than the resolution of the service's timestamps, in seconds.
_MOMENT = 0.0005
#: Statuses in which a job has ended by itself: with an audience, or with an error.
FINISHED = ("ACTIVE", "CREATE_FAILED")


@dataclass(frozen=True)
class JobBookmark:
    """
    What has been reported of a listing of jobs, which holds all history in no documented order.

    :param until: Jobs that were created up to then have all been reported, or are not to be; in seconds since 1970.
    :param reported: Later ones that have been reported: ARN to time of creation, in seconds since 1970.
    """

    until: float = 0.0
    reported: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, argument: str, text: Any) -> JobBookmark:
        """
        Read what :meth:`format` wrote.

        :param argument: Name of the argument that holds it.
        :raises InvalidRequestError: It is something else.
        """
        try:
            values = json.loads(text, parse_constant=_refuse)
            return cls(float(values["until"]), {str(arn): float(time) for arn, time in values["reported"].items()})
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InvalidRequestError(
                f"{argument}: {text!r} is not a bookmark; must be what an earlier run pushed to XCom under the key 'bookmark'"
            ) from None

    def format(self) -> str:
        """Write it as JSON: one text keeps its form in templates and in Airflow's stores."""
        return json.dumps(asdict(self))

    def advance(
        self, jobs: Iterable[Mapping[str, Any]], *, finished: bool
    ) -> tuple[list[Mapping[str, Any]], JobBookmark]:
        """
        Select the jobs to report next.

        :param jobs: The listing, as :func:`~airflow_cleanroomsml._waiting.job_search.select_jobs` returns it.
        :param finished: Whether to report a job once it is finished, and not as soon as it is listed.
        :return: The jobs in their order, and the bookmark once they have been reported.
        """
        later = {job["audience_generation_job_arn"]: job for job in jobs if _read_create_time(job) > self.until}
        if not later:
            return [], self
        # A job that is deleted unfinished will never be reported, but it must not hold the bookmark back forever.
        settled = {arn: job for arn, job in later.items() if not finished or _has_ended(job)}
        new = [job for arn, job in settled.items() if arn not in self.reported]
        created = {arn: _read_create_time(job) for arn, job in later.items()}
        # The bookmark stays before the oldest running job, which has to be reported when it ends, and an hour before the newest one, in
        # case the listing shows an older job later.
        running = [created[arn] - _MOMENT for arn in later if arn not in settled]
        until = max(self.until, min([*running, max(created.values()) - _LAG]))
        reported = {**self.reported, **{arn: created[arn] for arn in settled}}
        bookmark = JobBookmark(until, {arn: time for arn, time in reported.items() if time > until})
        return [job for job in new if not finished or job["status"] in FINISHED], bookmark


def _refuse(constant: str) -> None:
    # NaN and Infinity are not JSON, and no job would ever be later.
    raise ValueError(constant)


def _read_create_time(job: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(job["create_time"]).timestamp()


def _has_ended(job: Mapping[str, Any]) -> bool:
    """Whether it is finished or being deleted; a status that this release does not know may be neither."""
    return OUTCOMES[Goal.CREATED].get(job["status"], Outcome.PENDING) is not Outcome.PENDING
