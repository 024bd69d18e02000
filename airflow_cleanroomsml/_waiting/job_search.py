"""Search for audience generation jobs that a partner started: AWS does not notify the model's owner (user guide, ml-behaviors)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML
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
    """

    since: float
    configured_audience_model_arn: str | None = None
    collaboration_id: str | None = None
    started_by: str | None = None

    @classmethod
    def of(cls, since: Any, **filters: Any) -> JobFilter:
        """
        Build a filter from the arguments of a task.

        :param since: A time, as a template may render it.
        :param filters: The other fields, as templates may render them.
        :raises InvalidRequestError: One is not valid.
        """
        from airflow_cleanroomsml._requests.request import convert_search

        return cls(
            parse_time("since", since), **convert_search(CLEAN_ROOMS_ML, ["list_audience_generation_jobs"], filters)
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
        """Whether an entry of the listing matches."""
        # A listing shows a cross-account job under the ARN of the account that lists it (user guide, ml-behaviors).
        account = entry.get("startedBy")
        is_own = account is None or account == entry["audienceGenerationJobArn"].split(":")[4]
        is_wanted = account == self.started_by if self.started_by else not is_own
        return bool(is_wanted and entry["createTime"].timestamp() > self.since)


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
    from airflow_cleanroomsml._requests.coercion import as_datetime

    try:
        return as_datetime(value).timestamp()
    except (ValueError, OverflowError, OSError, TypeError):
        raise InvalidRequestError(
            f"{argument}: {value!r} is not a time; must be ISO 8601 (without an offset it is UTC) or seconds since 1970"
        ) from None


def find_jobs(hook: CleanRoomsMLHook, search: JobFilter) -> list[dict[str, Any]]:
    """
    List the matching jobs, the oldest first, as JSON.

    :raises CleanRoomsMLError: The listing cannot be read.
    """
    return select_jobs(search, hook.items(LISTING, search.listing_arguments))


def select_jobs(search: JobFilter, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Select the matching entries of the listing, the oldest first, as JSON."""
    matching = [entry for entry in entries if search.matches(entry)]
    return [
        {
            "audience_generation_job_arn": entry["audienceGenerationJobArn"],
            "name": entry["name"],
            "started_by": entry.get("startedBy"),
            "status": entry["status"],
            "create_time": entry["createTime"].isoformat(),
        }
        for entry in sorted(matching, key=lambda entry: entry["createTime"])
    ]
