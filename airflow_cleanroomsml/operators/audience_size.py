"""Sizes of audiences: which one to export, by the metrics of its generation job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from airflow_cleanroomsml._compat import AirflowSkipException
from airflow_cleanroomsml._link_storage import store_request_links
from airflow_cleanroomsml._pipelines.audience_size import (
    PERCENTAGE,
    Bin,
    Metrics,
    choose_by_knee,
    choose_by_relevance,
    choose_by_users,
    read_metrics,
)
from airflow_cleanroomsml._resources.data_flow import DataFlow, find_data
from airflow_cleanroomsml._templating import TEXT
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    InvalidRequestError,
    JobFailedError,
    ResultError,
    join_lines,
)
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator, list_set_arguments

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml.request_types import AudienceSize
    from airflow_cleanroomsml.typing import AwsKwargs, Templated

#: Users of the training data at most (user guide, ml-training-data-requirements).
_MOST_USERS = 100_000_000
_PENDING = ("CREATE_PENDING", "CREATE_IN_PROGRESS")


class CleanRoomsMLChooseAudienceSizeOperator(CleanRoomsMLOperator):
    """
    Choose the size of the audience to export, by the metrics of a finished generation job.

    Each policy chooses among the sizes of the configured audience model: ``relevance`` the largest size whose relevance is at least
    ``min_relevance``, ``users`` the size nearest to a number of users, and ``knee`` the size at which the curve of relevance bends most.
    The log has the curve in one line: "recall 0.87 (random 0.20); relevance 0.57 at 1 %, -0.15 at 5 %".

    An audience is unsuitable if the metrics are not shared, if the recall is no better than that of a random selection, or if no size is
    relevant enough. Then the task fails without a retry, is skipped, or passes: it warns of a low recall and chooses all the same, and
    returns ``default_size`` where nothing can be chosen.

    An argument that the Dag sets and whose template or output turns out to be None is refused, except for ``metrics``.

    :param audience_generation_job_arn: ARN of the generation job, which is read; it is not needed with ``metrics``.
    :param metrics: Metrics of the job, as its task pushes them to XCom: ``generate.output["metrics"]``. Where they may not be shared, use
        ``audience_generation_job_arn``: the task pushes none then, and Airflow fails a task whose input does not exist.
    :param policy: How to choose, ``relevance``, ``users`` or ``knee``.
    :param min_relevance: Least relevance of the policy ``relevance``, -1 to 1; at 0 all users of the audience are predicted to be like
        the seed, and a larger audience is likely to have others (user guide, ml-metrics).
    :param users: Number of users of the policy ``users``.
    :param training_users: Number of distinct users in the training data, up to 100 million; the policy ``users`` needs it for sizes in
        per cent, and the recall of a random selection for sizes in users.
    :param min_recall: Recall that has to be exceeded, 0 to 1; that of a random selection without it.
    :param if_unsuitable: What to do about an unsuitable audience, ``fail``, ``skip`` or ``pass``.
    :param default_size: Size that is returned by ``pass`` where nothing can be chosen, ``{"type": …, "value": …}``.
    :return: Size for ``audience_size`` of ``CleanRoomsMLStartAudienceExportJobOperator``, ``{"type": …, "value": …}``.
    """

    reference = "get_audience_generation_job"
    template_fields = (
        "audience_generation_job_arn",
        "metrics",
        "policy",
        "min_relevance",
        "users",
        "training_users",
        "min_recall",
        "if_unsuitable",
        "default_size",
        *CleanRoomsMLOperator.template_fields,
    )
    ui_color = "#e6f3ff"

    def __init__(
        self,
        *,
        audience_generation_job_arn: Templated[str] | None = None,
        metrics: Templated[Mapping[str, Any]] | None = None,
        policy: Templated[Literal["relevance", "users", "knee"]] = "relevance",
        min_relevance: Templated[float] = 0.0,
        users: Templated[int] | None = None,
        training_users: Templated[int] | None = None,
        min_recall: Templated[float] | None = None,
        if_unsuitable: Templated[Literal["fail", "skip", "pass"]] = "fail",
        default_size: Templated[AudienceSize] | None = None,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.audience_generation_job_arn = audience_generation_job_arn
        self.metrics = metrics
        self.policy = policy
        self.min_relevance = min_relevance
        self.users = users
        self.training_users = training_users
        self.min_recall = min_recall
        self.if_unsuitable = if_unsuitable
        self.default_size = default_size
        # Not metrics: the task of a job whose metrics are not shared pushes none.
        self._set_arguments = list_set_arguments(
            self, "audience_generation_job_arn", "users", "training_users", "min_recall", "default_size"
        )

    def _find_field_shapes(self) -> dict[str, Any]:
        return {
            **super()._find_field_shapes(),
            "audience_generation_job_arn": TEXT,
            "policy": TEXT,
            "if_unsuitable": TEXT,
        }

    def describe_data_flow(self) -> DataFlow:
        """Describe the generation job whose metrics are read."""
        return DataFlow(find_data({"audience_generation_job_arn": self.audience_generation_job_arn}))

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the metrics, and choose."""
        self.check_connection()
        store_request_links(self, context)
        arguments = self._check_fields()
        response = self._load_metrics(arguments)
        if response is None:
            reason = "the metrics are not shared, or neither audience_generation_job_arn nor metrics is set"
            if "audience_generation_job_arn" in arguments:
                reason = "the metrics are not shared; see shared_audience_metrics of the configured audience model"
            return self._handle_unsuitable(arguments, reason)
        try:
            metrics = read_metrics(response, arguments.get("training_users"))
        except ValueError as error:
            raise InvalidRequestError(
                f"metrics: {error}. Set metrics to what the task of the generation job pushed to XCom, or set audience_generation_job_arn."
            ) from None
        self.log.info("Metrics of the audience: %s.", metrics)
        # Recall first: if the model ranks no better than chance, no size of the audience is worth exporting.
        if reason := self._explain_low_recall(metrics, arguments):
            if arguments["if_unsuitable"] != "pass":
                return self._handle_unsuitable(arguments, reason)
            self.log.warning('Choosing a size although %s, because if_unsuitable is "pass".', reason)
        chosen = self._choose(metrics, arguments)
        if chosen is None:
            least = f" of {arguments['min_relevance']} or more" if arguments["policy"] == "relevance" else ""
            # Every size is near to a number of users, so there are none at all.
            reason = (
                "the metrics have no sizes" if arguments["policy"] == "users" else f"no size has a relevance{least}"
            )
            return self._handle_unsuitable(arguments, reason)
        self.log.info("Chose %s by %s.", chosen, arguments["policy"])
        return chosen.size

    def _check_fields(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.arguments import check_arguments, choice, integer, member, number

        job = member("get_audience_generation_job", "audience_generation_job_arn")
        shapes = {
            "audience_generation_job_arn": job,
            "policy": choice("relevance", "users", "knee"),
            "min_relevance": number(-1, 1),
            "users": integer(1, _MOST_USERS),
            "training_users": integer(1, _MOST_USERS),
            "min_recall": number(0, 1),
            "if_unsuitable": choice("fail", "skip", "pass"),
            "default_size": member("start_audience_export_job", "audience_size"),
        }
        values = {name: getattr(self, name) for name in shapes}
        arguments = check_arguments(
            shapes, values, required=("policy", "min_relevance", "if_unsuitable"), set_in_dag=self._set_arguments
        )
        if arguments["policy"] == "users" and "users" not in arguments:
            raise InvalidRequestError('users: missing; required with policy="users". Nothing was sent.')
        return arguments

    def _load_metrics(self, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the metrics; None if they are not shared."""
        from airflow_cleanroomsml._requests.coercion import parse_container

        metrics: Any = parse_container(self.metrics) if isinstance(self.metrics, str) else self.metrics
        # What a template of an XCom that does not exist renders to counts as missing.
        if metrics is not None and not (isinstance(metrics, str) and metrics in ("None", "")):
            mapping: Mapping[str, Any] = metrics
            return mapping
        job = arguments.get("audience_generation_job_arn")
        return self._read_metrics_of_job(job) if job else None

    def _read_metrics_of_job(self, job: str) -> Mapping[str, Any] | None:
        description = self.hook.call("get_audience_generation_job", {"audience_generation_job_arn": job})
        status, metrics = description["status"], description.get("metrics")
        # Airflow retries only the first of the two errors: the job may still get its metrics.
        if status in _PENDING:
            raise CleanRoomsMLError(
                join_lines(
                    f"The audience generation job is {status} and has no metrics yet: {job}",
                    "A retry reads it again; to wait for it, put CleanRoomsMLAudienceGenerationJobSensor before this task.",
                )
            )
        if status != "ACTIVE":
            raise JobFailedError(
                join_lines(
                    f"The audience generation job is {status} and has no metrics: {job}",
                    "Generate the audience again, then clear this task.",
                ),
                status=status,
            )
        return metrics if isinstance(metrics, Mapping) else None

    def _explain_low_recall(self, metrics: Metrics, arguments: Mapping[str, Any]) -> str:
        """Return why the recall is too low; empty if it is high enough, or cannot be compared."""
        least = arguments.get("min_recall", metrics.random_recall)
        if metrics.recall is None or least is None:
            missing = "the job has no recall" if metrics.recall is None else "training_users is not set"
            # Absolute sizes have no random recall unless the number of training users is known (API reference, AudienceQualityMetrics).
            self.log.warning("Recall was not compared with a random selection: %s.", missing)
            return ""
        named = "min_recall" if "min_recall" in arguments else "a random selection"
        return "" if metrics.recall > least else f"recall {metrics.recall:.2f} is no better than {named} ({least:.2f})"

    def _choose(self, metrics: Metrics, arguments: Mapping[str, Any]) -> Bin | None:
        if arguments["policy"] == "relevance":
            return choose_by_relevance(metrics.bins, arguments["min_relevance"])
        if arguments["policy"] == "knee":
            return choose_by_knee(metrics.bins)
        training_users = arguments.get("training_users")
        # A percentage cannot be converted without the number of training users, which the service does not return.
        if training_users is None and any(each.kind == PERCENTAGE for each in metrics.bins):
            raise InvalidRequestError(
                'training_users: missing; policy="users" needs it, because the sizes of this job are percentages'
            )
        return choose_by_users(metrics.bins, arguments["users"], training_users)

    def _handle_unsuitable(self, arguments: Mapping[str, Any], reason: str) -> dict[str, Any]:
        """Do what ``if_unsuitable`` says: fail, skip, or return ``default_size``."""
        action = arguments["if_unsuitable"]
        if action == "skip":
            raise AirflowSkipException(f"No size was chosen: {reason}.")
        if action == "fail" or "default_size" not in arguments:
            advice = (
                'if_unsuitable="pass" needs default_size: the size to return here.'
                if action == "pass"
                else 'To continue without an export, set if_unsuitable="skip"; to export a fixed size, set "pass" and default_size.'
            )
            raise ResultError(join_lines(f"No size was chosen: {reason}.", advice))
        size: dict[str, Any] = arguments["default_size"]
        self.log.warning("Returning default_size, because %s.", reason)
        return size
