"""Search for audience generation jobs that a partner started: AWS does not notify the model's owner (user guide, ml-behaviors)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._requests.arns import parse_arn
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML
from airflow_cleanroomsml._waiting.job_bookmark import JobBookmark
from airflow_cleanroomsml.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

LISTING = "list_audience_generation_jobs"


@dataclass(frozen=True)
class JobFilter:
    """
    The jobs to search for, as plain values.

    :param since: Time after which they were created, in seconds since 1970.
    :param configured_audience_model_arn: Model that they use; None for any.
    :param collaboration_id: Collaboration that they belong to; None for any.
    :param started_by: Account that started them; None for any except the owner's.
    :param finished: Whether they have to be finished, and not only started.
    :param after: The :class:`~airflow_cleanroomsml._waiting.job_bookmark.JobBookmark` of an earlier search, as text; it replaces ``since``.
    """

    since: float
    configured_audience_model_arn: str | None = None
    collaboration_id: str | None = None
    started_by: str | None = None
    finished: bool = False
    after: str | None = None

    @classmethod
    def of(cls, since: Any, *, finished: Any = False, after: Any = None, **filters: Any) -> JobFilter:
        """
        Build a filter from the arguments of a task.

        :param since: A time, as a template may render it.
        :param finished: As the field, as a template may render it.
        :param after: As the field, as a template may render it.
        :param filters: The other fields, as templates may render them.
        :raises InvalidRequestError: One is not valid.
        """
        from airflow_cleanroomsml._requests.arguments import BOOLEAN, check_arguments
        from airflow_cleanroomsml._requests.request import convert_search

        flags = check_arguments({"finished": BOOLEAN}, {"finished": finished})
        # Parsed for its errors only: the search itself parses it again.
        if after is not None:
            JobBookmark.parse("after", after)
        return cls(
            parse_time("since", since),
            **convert_search(CLEAN_ROOMS_ML, [LISTING], filters),
            **flags,
            after=after,
        )

    def to_json(self) -> dict[str, Any]:
        """Convert to plain JSON values."""
        return asdict(self)

    @property
    def listing_arguments(self) -> dict[str, Any]:
        """The arguments that narrow the listing."""
        return {
            "configured_audience_model_arn": self.configured_audience_model_arn,
            "collaboration_id": self.collaboration_id,
        }

    def matches(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry of the listing was started by the right account."""
        # A listing shows a cross-account job under the ARN of the account that lists it (user guide, ml-behaviors).
        account = entry.get("startedBy")
        own = parse_arn(entry["audienceGenerationJobArn"])
        # The member is optional in the model; a job of unknown origin counts as the owner's own, and is not reported.
        is_own = account is None or own is None or account == own.account
        return bool(account == self.started_by if self.started_by else not is_own)

    @property
    def bookmark(self) -> JobBookmark:
        """Where the search begins."""
        return JobBookmark(self.since) if self.after is None else JobBookmark.parse("after", self.after)


@dataclass(frozen=True)
class JobSearch:
    """
    A repeated search for jobs.

    :param search: The jobs to search for.
    :param deadline: When it ends, in seconds since 1970.
    :param delay: Pause between two polls, in seconds.
    """

    search: JobFilter
    deadline: float
    delay: float

    def pause(self, now: float, jitter: float | None = None) -> float:
        """Return the seconds until the next poll; the jitter is a factor on them."""
        return max(0.0, min(self.delay * (jitter or 1.0), self.deadline - now))


def parse_time(argument: str, value: Any) -> float:
    """
    Parse a time to seconds since 1970; without an offset it is UTC.

    :param argument: Name of the argument that holds it.
    :raises InvalidRequestError: It is not a time.
    """
    from airflow_cleanroomsml._requests.coercion import TIME_FORMATS, as_datetime

    try:
        return as_datetime(value).timestamp()
    except (ValueError, OverflowError, OSError, TypeError):
        raise InvalidRequestError(f"{argument}: {value!r} is not a time; must be {TIME_FORMATS}") from None


@dataclass(frozen=True)
class JobWatch:
    """
    A search for jobs that has no end: each change of the listing is an update.

    :param search: The jobs to search for, finished or not; ``since`` and ``after`` do not matter.
    :param delay: Pause between two polls, in seconds.
    """

    search: JobFilter
    delay: float
    deadline: float = math.inf

    def pause(self, now: float, jitter: float | None = None) -> float:
        """Return the seconds until the next poll; the jitter is a factor on them."""
        return self.delay * (jitter or 1.0)


def find_jobs(hook: CleanRoomsMLHook, search: JobFilter) -> dict[str, Any]:
    """
    Search once.

    :return: As :func:`search_entries`.
    :raises CleanRoomsMLError: The listing cannot be read.
    """
    return search_entries(search, hook.items(LISTING, search.listing_arguments))


def search_entries(search: JobFilter, entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Search the entries of the listing.

    :return: ``jobs`` that are new, the oldest first, and the ``bookmark`` after them, as text; plain JSON values.
    """
    jobs, bookmark = search.bookmark.advance(select_jobs(search, entries), finished=search.finished)
    return {"jobs": jobs, "bookmark": bookmark.format()}


def select_jobs(search: JobFilter, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Select the jobs that the right account started, the oldest first, as JSON."""
    matching = [entry for entry in entries if search.matches(entry)]
    return [describe_job(entry) for entry in sorted(matching, key=lambda entry: entry["createTime"])]


def describe_job(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a job for XCom and asset events: nothing in it is confidential."""
    return {
        "audience_generation_job_arn": entry["audienceGenerationJobArn"],
        "name": entry["name"],
        "status": entry["status"],
        "started_by": entry.get("startedBy"),
        "configured_audience_model_arn": entry["configuredAudienceModelArn"],
        "collaboration_id": entry.get("collaborationId"),
        "create_time": entry["createTime"].isoformat(),
    }
