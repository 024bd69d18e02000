"""Audience generation jobs that somebody else has started: AWS tells the model's owner nothing of them (user guide, ml-behaviors)."""

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
    Which jobs are looked for, as plain values.

    :param since: Only those created later, in seconds since 1970.
    :param configured_audience_model_arn: Model that they use; None for all.
    :param collaboration_id: Collaboration that they belong to; None for all.
    :param started_by: Account that started them; None for any but the owner's.
    """

    since: float
    configured_audience_model_arn: str | None = None
    collaboration_id: str | None = None
    started_by: str | None = None

    @classmethod
    def of(cls, since: Any, **filters: Any) -> JobFilter:
        """
        A search by arguments of a task.

        :param since: A time, as a template may render it.
        :param filters: The other members, as templates may render them.
        :raises InvalidRequestError: Nothing can be found by them.
        """
        from airflow_cleanroomsml._requests.request import convert_search

        return cls(
            parse_time("since", since), **convert_search(CLEAN_ROOMS_ML, ["list_audience_generation_jobs"], filters)
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @property
    def listing_arguments(self) -> dict[str, Any]:
        """The arguments by which the listing is narrowed."""
        return {
            "configured_audience_model_arn": self.configured_audience_model_arn,
            "collaboration_id": self.collaboration_id,
        }

    def matches(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry of the listing is one of them."""
        starter = entry.get("startedBy")
        own = starter is None or starter == entry["audienceGenerationJobArn"].split(":")[4]
        by_whom = starter == self.started_by if self.started_by else not own
        return bool(by_whom and entry["createTime"].timestamp() > self.since)


@dataclass(frozen=True)
class JobSearch:
    """
    A search that is repeated.

    :param search: What is looked for.
    :param deadline: When it ends, in seconds since 1970.
    :param delay: Pause between two looks, in seconds.
    """

    search: JobFilter
    deadline: float
    delay: float

    def pause(self, now: float, jitter: float | None = None) -> float:
        """Seconds until the next look, a factor on it where one is given."""
        return max(0.0, min(self.delay * (jitter or 1.0), self.deadline - now))


def parse_time(argument: str, value: Any) -> float:
    """
    A time in seconds since 1970; a naive one is UTC.

    :param argument: Name of the argument that holds it.
    :raises InvalidRequestError: It is none.
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
    The jobs that there are now, the oldest first, as JSON.

    :raises CleanRoomsMLError: The listing cannot be read.
    """
    return select_jobs(search, hook.items(LISTING, search.listing_arguments))


def select_jobs(search: JobFilter, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those entries of the listing that are looked for, the oldest first, as JSON."""
    meant = [entry for entry in entries if search.matches(entry)]
    return [
        {
            "audience_generation_job_arn": entry["audienceGenerationJobArn"],
            "name": entry["name"],
            "started_by": entry.get("startedBy"),
            "status": entry["status"],
            "create_time": entry["createTime"].isoformat(),
        }
        for entry in sorted(meant, key=lambda entry: entry["createTime"])
    ]
