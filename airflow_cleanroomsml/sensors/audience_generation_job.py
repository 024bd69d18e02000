"""Wait for an audience generation job, or for one that a partner starts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._compat import PokeReturnValue
from airflow_cleanroomsml._resources.table import AUDIENCE_GENERATION_JOB
from airflow_cleanroomsml._templating import RENDERED_NONE, TEXT
from airflow_cleanroomsml._xcom import push_results
from airflow_cleanroomsml.exceptions import format_advice, summarize_error
from airflow_cleanroomsml.sensors._base import CleanRoomsMLBaseSensor
from airflow_cleanroomsml.sensors._errors import build_interruption
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLSensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._waiting.job_search import JobFilter
    from airflow_cleanroomsml.typing import GoalKwargs, SensingKwargs, Templated


class CleanRoomsMLAudienceGenerationJobSensor(CleanRoomsMLSensor):
    """
    Wait until an audience generation job has ended; its ``metrics`` are pushed to XCom.

    :param audience_generation_job_arn: ARN of the job in the caller's account.
    :return: The ARN.
    """

    resource = AUDIENCE_GENERATION_JOB

    def __init__(self, *, audience_generation_job_arn: Templated[str], **kwargs: Unpack[GoalKwargs]) -> None:
        super().__init__(**kwargs)
        self.audience_generation_job_arn = audience_generation_job_arn


class CleanRoomsMLNewAudienceGenerationJobsSensor(CleanRoomsMLBaseSensor):
    """
    Wait until a partner starts, or finishes, an audience generation job with your own configured audience model.

    AWS does not notify the model's owner of such a job; only the owner's listing shows it (user guide, ml-behaviors). Details are pushed
    to XCom under the key ``jobs``: ``audience_generation_job_arn``, ``name``, ``status``, ``started_by``,
    ``configured_audience_model_arn``, ``collaboration_id`` and ``create_time`` of each. The key ``bookmark`` says which jobs have been
    reported; the next run that takes it as ``after`` reports each job once, in whatever order the jobs finish.

    :param since: Time after which the job was created, for instance ``{{ data_interval_start }}``.
    :param configured_audience_model_arn: ARN of the configured audience model; None for any.
    :param collaboration_id: Collaboration, a UUID; None for any.
    :param started_by: Account of the partner, 12 digits; None for any account but your own.
    :param finished: Wait for jobs that are finished, with an audience (``ACTIVE``) or with an error (``CREATE_FAILED``), instead of jobs
        that were started.
    :param after: The ``bookmark`` of an earlier run, whose jobs are not reported again; it replaces ``since``. None, also as a text, for no
        earlier run.
    :return: ARNs of the jobs in your own account, the oldest first.
    """

    reference = "list_audience_generation_jobs"
    template_fields = (
        "since",
        "configured_audience_model_arn",
        "collaboration_id",
        "started_by",
        "finished",
        "after",
        *CleanRoomsMLBaseSensor.template_fields,
    )

    def __init__(
        self,
        *,
        since: Templated[datetime],
        configured_audience_model_arn: Templated[str] | None = None,
        collaboration_id: Templated[str] | None = None,
        started_by: Templated[str] | None = None,
        finished: Templated[bool] = False,
        after: Templated[str] | None = None,
        **kwargs: Unpack[SensingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.configured_audience_model_arn = configured_audience_model_arn
        self.collaboration_id = collaboration_id
        self.started_by = started_by
        self.finished = finished
        self.after = after
        #: Why the last poll failed, and what to do about that; empty if it did not fail.
        self._failed_poll, self._advice = "", ""

    def _find_field_shapes(self) -> dict[str, Any]:
        # "finished" is a flag, which may be rendered to True; "after" is JSON and must stay the text that an earlier run pushed.
        texts = [name for name in self.template_fields if name not in ("finished", *self.connection_fields)]
        return {**super()._find_field_shapes(), **dict.fromkeys(texts, TEXT)}

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Poll once."""
        from airflow_cleanroomsml._waiting.job_search import find_jobs
        from airflow_cleanroomsml._waiting.outcome import TRANSIENT_ERRORS

        # The next poll may meet none of these, and a wait of days must survive a minute of them.
        try:
            found = find_jobs(self.hook, self._build_filter())
        except TRANSIENT_ERRORS as error:
            self._failed_poll, self._advice = summarize_error(error), format_advice(error)
            self.log.info("Could not list the audience generation jobs; polling again: %s", error)
            return False
        self._failed_poll, self._advice = "", ""
        return PokeReturnValue(is_done=True, xcom_value=self._finish(context, found)) if found["jobs"] else False

    def _build_filter(self) -> JobFilter:
        from airflow_cleanroomsml._waiting.job_search import JobFilter

        return JobFilter.of(
            self.since,
            configured_audience_model_arn=self.configured_audience_model_arn,
            collaboration_id=self.collaboration_id,
            started_by=self.started_by,
            finished=self.finished,
            after=None if self.after in RENDERED_NONE else self.after,
        )

    def _build_trigger(self, deadline: float) -> Any:
        from airflow_cleanroomsml.triggers import CleanRoomsMLNewJobsTrigger

        search = self._build_filter().to_json()
        return CleanRoomsMLNewJobsTrigger(search=search, deadline=deadline, delay=self.poke_interval, **self.connection)

    def _complete(self, context: Context, event: dict[str, Any]) -> Any:
        if "error" in event:
            raise build_interruption(event["error"])
        # The trigger ends without jobs only at the deadline.
        if not event["jobs"]:
            # The triggerer may still run an earlier release, which does not return them.
            self._failed_poll, self._advice = event.get("message", ""), event.get("advice", "")
            raise self._error_handler.build_timeout()
        return self._finish(context, event)

    def describe_timeout(self) -> tuple[str, ...]:
        """Return lines for the error of a time-out."""
        model, noun = self.configured_audience_model_arn, "audience generation job"
        verdict = f"No {noun} finished" if self._build_filter().finished else f"No new {noun} appeared"
        return (
            f"{verdict} within {self.timeout:.0f} s, the timeout of the sensor.",
            f"configured audience model {model}" if model else "",
            f"The last poll failed, so a job may exist: {self._failed_poll}" if self._failed_poll else "",
            self._advice,
        )

    def _finish(self, context: Context, found: dict[str, Any]) -> list[str]:
        jobs = found["jobs"]
        for job in jobs:
            self.log.info(
                "Found the audience generation job %(name)r, started by account %(started_by)s, %(status)s: "
                "%(audience_generation_job_arn)s.",
                job,
            )
        # The triggerer may still run an earlier release, which returns no bookmark.
        push_results(self, context, {key: found[key] for key in ("jobs", "bookmark") if key in found})
        return [job["audience_generation_job_arn"] for job in jobs]
