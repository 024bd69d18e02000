"""Weekly retraining: put a newly trained audience model into service, and delete those that are no longer needed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._compat import AirflowSkipException
from airflow_cleanroomsml._data_report import report_data
from airflow_cleanroomsml._link_storage import store_request_links
from airflow_cleanroomsml._pipelines.retraining import compute_recency
from airflow_cleanroomsml._resources.data_flow import DataFlow, find_data
from airflow_cleanroomsml._templating import TEXT
from airflow_cleanroomsml._xcom import push_results
from airflow_cleanroomsml.exceptions import InvalidRequestError, ResourceNotFoundError
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator, list_set_arguments

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._idempotency.attempts import AttemptLog
    from airflow_cleanroomsml.typing import AwsKwargs, Templated

#: Audience models of an account (user guide, Quotas); more cannot be kept.
_MOST_MODELS = 500


class _RetrainingOperator(CleanRoomsMLOperator):
    """The base of the steps of retraining: they read audience models."""

    ui_color = "#e6f3ff"

    def _find_field_shapes(self) -> dict[str, Any]:
        texts = [name for name in self.template_fields if name not in self.connection_fields]
        return {**super()._find_field_shapes(), **dict.fromkeys(texts, TEXT)}

    def _collect_arguments(self) -> dict[str, Any]:
        names = [name for name in self.template_fields if name not in self.connection_fields]
        return {name: getattr(self, name) for name in names}

    def _read_model(self, arn: str) -> dict[str, Any]:
        return self.hook.call("get_audience_model", {"audience_model_arn": arn})

    def _find_model_in_service(self, configured: str) -> str:
        arguments = {"configured_audience_model_arn": configured}
        return str(self.hook.call("get_configured_audience_model", arguments)["audienceModelArn"])


class CleanRoomsMLCheckAudienceModelAgeOperator(_RetrainingOperator):
    """
    Skip the training that follows unless the model in service is older than the data that are available now.

    A run that is cleared after its own or a newer model went into service therefore pays for no second training. The age of a model is
    the end of its training window; a model without a window was trained on everything up to its creation. The task makes two calls,
    GetConfiguredAudienceModel and GetAudienceModel.

    :param configured_audience_model_arn: ARN of the configured audience model.
    :param training_data_end_time: End of the data for the next model.
    :return: ARN of the audience model in service.
    """

    reference = "get_audience_model"
    template_fields = (
        "configured_audience_model_arn",
        "training_data_end_time",
        *CleanRoomsMLOperator.template_fields,
    )

    def __init__(
        self,
        *,
        configured_audience_model_arn: Templated[str],
        training_data_end_time: Templated[datetime],
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.configured_audience_model_arn = configured_audience_model_arn
        self.training_data_end_time = training_data_end_time

    def execute(self, context: Context) -> str:
        """Compare the model in service with the data."""
        self.check_connection()
        store_request_links(self, context)
        from airflow_cleanroomsml._requests.arguments import TIME, check_arguments, member

        shapes = {
            "configured_audience_model_arn": member("get_configured_audience_model", "configured_audience_model_arn"),
            "training_data_end_time": TIME,
        }
        arguments = check_arguments(shapes, self._collect_arguments(), required=shapes)
        arn = self._find_model_in_service(arguments["configured_audience_model_arn"])
        # The creation does not count here: a model that was trained late may have been trained on old data.
        end, _ = compute_recency(self._read_model(arn))
        if end >= arguments["training_data_end_time"]:
            raise AirflowSkipException(
                f"Nothing to train: the audience model in service was trained on data up to {end:%Y-%m-%d %H:%M %Z}, and this run's "
                f"data end at {arguments['training_data_end_time']:%Y-%m-%d %H:%M %Z}: {arn}"
            )
        self.log.info("The audience model in service was trained on data up to %s: %s", f"{end:%Y-%m-%d %H:%M %Z}", arn)
        return arn


class CleanRoomsMLPromoteAudienceModelOperator(_RetrainingOperator):
    """
    Put an audience model into service behind a configured audience model, unless a newer one is in service.

    The ARN of the configured audience model, its policy and its associations stay, and jobs that are running are not affected. The newer
    of two models is the one whose training window ends later, and of one window the one that was created later; a model without a window
    was trained on everything up to its creation. So the task may be cleared at any time, also in the run of an older week. A model that
    no longer exists, as after it was pruned, is skipped.

    To roll back, set ``instead_of`` to the model to replace: then age does not matter, and the task changes nothing unless that model
    is in service. To replace whatever is there use ``CleanRoomsMLUpdateConfiguredAudienceModelOperator``.

    The API has no conditional update. Set ``max_active_runs=1`` so that no two tasks promote at the same moment.

    The ARN of the model that was replaced is pushed to XCom under the key ``replaced``. A retry that finds the model in service pushes what
    an earlier try replaced, as far as Airflow's task state store (3.3 and later) has it. Otherwise it pushes None: the service does not
    describe which model was in service before.

    :param configured_audience_model_arn: ARN of the configured audience model.
    :param audience_model_arn: ARN of the audience model to put into service.
    :param instead_of: ARN of the audience model that it replaces, whichever is newer. A template or output that turns out to be None is
        refused, since that would be an ordinary promotion.
    :return: ARN of the audience model in service from now on: this one, or what was kept.
    """

    reference = "update_configured_audience_model"
    template_fields = (
        "configured_audience_model_arn",
        "audience_model_arn",
        "instead_of",
        *CleanRoomsMLOperator.template_fields,
    )

    def __init__(
        self,
        *,
        configured_audience_model_arn: Templated[str],
        audience_model_arn: Templated[str],
        instead_of: Templated[str] | None = None,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.configured_audience_model_arn = configured_audience_model_arn
        self.audience_model_arn = audience_model_arn
        self.instead_of = instead_of
        # Without it, the roll-back would be an ordinary promotion.
        self._set_arguments = list_set_arguments(self, "instead_of")

    def execute(self, context: Context) -> str:
        """Update the configured audience model if the guard allows it."""
        self.data_members = {}
        self.check_connection()
        store_request_links(self, context)
        from airflow_cleanroomsml._idempotency.attempts import AttemptLog

        arguments = self._check_fields()
        new, instead_of = arguments["audience_model_arn"], arguments.pop("instead_of", None)
        current = self._find_model_in_service(arguments["configured_audience_model_arn"])
        # A retry, or a cleared task, finds its own promotion.
        attempt_log = AttemptLog(context, f"{arguments['configured_audience_model_arn']} {new}", enabled=True)
        if current == new:
            replaced = self._recall_replaced(context, attempt_log)
            self.log.info("Already in service: %s", new)
            push_results(self, context, {"replaced": replaced})
            report_data(self, context, {**arguments, "replaced": replaced})
            return str(new)
        if reason := self._find_reason_to_keep(current, new, instead_of):
            self.log.warning("Kept %s in service: %s.", current, reason)
            report_data(self, context, {**arguments, "audience_model_arn": current})
            return current
        # Before the update: the worker may die before it pushes the result, and the service does not describe the model that is replaced.
        attempt_log.write(replaced=current)
        # Between the read and this update another run may promote: the API has no condition (see the class about max_active_runs).
        self.hook.call("update_configured_audience_model", arguments)
        self.log.info("Put %s into service in place of %s", new, current)
        push_results(self, context, {"replaced": current})
        report_data(self, context, {**arguments, "replaced": current})
        return str(new)

    def describe_data_flow(self) -> DataFlow:
        """Describe the audience model and, if it is in service, the configured audience model."""
        inputs = find_data({"audience_model_arn": self.audience_model_arn})
        # If another model was kept, nothing was written.
        is_in_service = self.data_members.get("audience_model_arn") == self.audience_model_arn
        outputs = find_data({"arn": self.data_members["configured_audience_model_arn"]}) if is_in_service else ()
        return DataFlow(inputs, outputs, members=self.data_members)

    def _check_fields(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.arguments import check_arguments, member

        model = member("get_audience_model", "audience_model_arn")
        configured = member("get_configured_audience_model", "configured_audience_model_arn")
        return check_arguments(
            {"configured_audience_model_arn": configured, "audience_model_arn": model, "instead_of": model},
            self._collect_arguments(),
            required=("configured_audience_model_arn", "audience_model_arn"),
            set_in_dag=self._set_arguments,
        )

    def _recall_replaced(self, context: Context, attempt_log: AttemptLog) -> str | None:
        """Return the model that an earlier try of this task replaced; None if there was none, or that is not known."""
        note = attempt_log.recall()
        if note and note["fingerprint"] == attempt_log.fingerprint:
            return str(note["replaced"])
        from airflow_cleanroomsml._idempotency.attempts import read_current_attempt

        if read_current_attempt(context).number > 1:
            self.log.info("An earlier try may have put the model into service; it is unknown which model it replaced.")
        return None

    def _find_reason_to_keep(self, current: str, new: str, instead_of: str | None) -> str:
        """Return why the model in service stays; empty if the new one replaces it."""
        if instead_of is not None:
            return "" if current == instead_of else f"it is not the audience model that instead_of names, {instead_of}"
        try:
            candidate = self._read_model(new)
        except ResourceNotFoundError as error:
            raise AirflowSkipException(
                f"Nothing to put into service: the audience model no longer exists: {new}"
            ) from error
        newer, older = compute_recency(candidate), compute_recency(self._read_model(current))
        if newer > older:
            return ""
        ends = f"{older[0]:%Y-%m-%d %H:%M %Z}, and those of {new} end at {newer[0]:%Y-%m-%d %H:%M %Z}"
        return f"it is as recent or newer; its training data end at {ends}"


class CleanRoomsMLPruneAudienceModelsOperator(_RetrainingOperator):
    """
    Delete the audience models of a training dataset, or of a name prefix, that are no longer needed.

    The task keeps the ``keep`` newest ACTIVE models, every model that a configured audience model uses, models in training, and models
    that are not older than ``not_newer_than``. It deletes the rest, failed models included, and does not wait for the deletions. Age is the
    end of the training window, as for ``CleanRoomsMLPromoteAudienceModelOperator``. If a model is put to use at the last moment, the
    service refuses to delete it, and it is kept. The task reports models that are gone or being deleted. It succeeds if there is nothing to
    delete.

    Calls: ListAudienceModels and ListConfiguredAudienceModels, once for every 100 entries of the account; one GetAudienceModel for each
    model of the dataset or prefix, since the listing has no training window; one DeleteAudienceModel for each model that is deleted.

    :param keep: Number of the newest ACTIVE models to keep, 1 to 500.
    :param training_dataset_arn: ARN of the training dataset whose models are pruned.
    :param name_prefix: Prefix of the names of the models to prune, 1 to 63 characters; with ``training_dataset_arn`` a model has to match
        both.
    :param not_newer_than: ARN of this run's own audience model: only models older than it are deleted, and none if it no longer exists. A
        template or output that turns out to be None is refused, as it is of ``training_dataset_arn`` and ``name_prefix``.
    :param report_only: Report what would be deleted, and delete nothing. It is not called ``dry_run`` because Airflow's operators have a
        method of that name.
    :return: ``deleted``, a list of ARNs; ``kept``, ARNs with the reason of each; ``gone``, ARNs of models that were deleted by somebody
        else, with their status; ``report_only``.
    """

    reference = "delete_audience_model"
    template_fields = (
        "keep",
        "training_dataset_arn",
        "name_prefix",
        "not_newer_than",
        "report_only",
        *CleanRoomsMLOperator.template_fields,
    )

    def __init__(
        self,
        *,
        keep: Templated[int],
        training_dataset_arn: Templated[str] | None = None,
        name_prefix: Templated[str] | None = None,
        not_newer_than: Templated[str] | None = None,
        report_only: Templated[bool] = False,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.keep = keep
        self.training_dataset_arn = training_dataset_arn
        self.name_prefix = name_prefix
        self.not_newer_than = not_newer_than
        self.report_only = report_only
        # Each of them limits what is deleted, and a deletion is final.
        self._set_arguments = list_set_arguments(self, "training_dataset_arn", "name_prefix", "not_newer_than")

    def execute(self, context: Context) -> dict[str, Any]:
        """Decide which models to delete, and delete them."""
        self.data_members = {}
        self.check_connection()
        store_request_links(self, context)
        arguments = self._check_fields()
        report_only = arguments["report_only"]
        # Imported here because a Dag file that is parsed does not need it.
        from airflow_cleanroomsml.operators._pruning import Pruner

        pruner = Pruner(self.hook)
        plan = pruner.build_plan(arguments)
        deleted = plan.delete if report_only else pruner.delete(plan)
        self.log.info(
            "Audience models: %d %s, %d kept, %d already deleted or being deleted.",
            len(deleted),
            "would be deleted" if report_only else "deleted",
            len(plan.keep),
            len(plan.gone),
        )
        for arn, reason in plan.keep.items():
            self.log.info("Kept the audience model %s: %s.", arn, reason)
        report_data(self, context, {} if report_only else {"deleted": deleted})
        return {"deleted": deleted, "kept": plan.keep, "gone": plan.gone, "report_only": report_only}

    def describe_data_flow(self) -> DataFlow:
        """Describe the audience models that were deleted."""
        return DataFlow(deleted=find_data(self.data_members))

    def _check_fields(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.arguments import BOOLEAN, check_arguments, integer, member

        shapes = {
            "keep": integer(1, _MOST_MODELS),
            "training_dataset_arn": member("create_audience_model", "training_dataset_arn"),
            "name_prefix": member("create_audience_model", "name"),
            "not_newer_than": member("get_audience_model", "audience_model_arn"),
            "report_only": BOOLEAN,
        }
        arguments = check_arguments(
            shapes, self._collect_arguments(), required=("keep", "report_only"), set_in_dag=self._set_arguments
        )
        if not {"training_dataset_arn", "name_prefix"} & set(arguments):
            raise InvalidRequestError(
                "training_dataset_arn, name_prefix: both are missing; set at least one of them. Nothing was sent."
            )
        return arguments
