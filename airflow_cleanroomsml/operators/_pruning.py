"""The pruning of audience models: reading them, and deleting those of a plan."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._pipelines.retraining import DELETING, Model, Plan, compute_recency, plan_pruning
from airflow_cleanroomsml.exceptions import ConflictError, ResourceNotFoundError

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)


class Pruner:
    """
    Reads the audience models of an account, and deletes those that are no longer needed.

    :param hook: Sends the requests.
    """

    def __init__(self, hook: CleanRoomsMLHook) -> None:
        self._hook = hook

    def build_plan(self, arguments: Mapping[str, Any]) -> Plan:
        """
        Decide what becomes of each model.

        :param arguments: The operator's arguments.
        """
        # The service cannot filter by dataset or by prefix (service model), so the whole account is listed.
        entries = [entry for entry in self._hook.items("list_audience_models") if _matches(entry, arguments)]
        # Listed after the models, so that a model that was put into service in between is kept.
        in_service: dict[str, list[str]] = {}
        for entry in self._hook.items("list_configured_audience_models"):
            in_service.setdefault(entry["audienceModelArn"], []).append(entry["name"])
        models, gone = dict[str, Model](), dict[str, str]()
        # One Get for each, because the listing has no training window (service model).
        for arn in [entry["audienceModelArn"] for entry in entries]:
            if model := self._find_model(arn):
                models[arn] = model
            else:
                gone[arn] = "deleted since it was listed"
        own_arn = arguments.get("not_newer_than")
        # This run's model need not match the prefix, and then it is not among those listed.
        own = (models.get(own_arn) or self._find_model(own_arn)) if own_arn else None
        if own_arn and own is None:
            log.warning("Deleted nothing, because this run's audience model no longer exists: %s", own_arn)
            return Plan([], dict.fromkeys(models, "this run's model no longer exists, so its age is unknown"), gone)
        plan = plan_pruning(models.values(), in_service, keep=arguments["keep"], own=own)
        return plan._replace(gone={**plan.gone, **gone})

    def delete(self, plan: Plan) -> list[str]:
        """Delete models; return those whose deletion the service accepted. Add to the plan what became of the others."""
        return [arn for arn in plan.delete if self._delete(arn, plan)]

    def _find_model(self, arn: str) -> Model | None:
        """Read a model; None if it no longer exists."""
        try:
            description = self._hook.call("get_audience_model", {"audience_model_arn": arn})
        except ResourceNotFoundError:
            return None
        return Model(arn, description["status"], compute_recency(description))

    def _delete(self, arn: str, plan: Plan) -> bool:
        """Delete a model; return whether the service accepted it. If not, add to the plan what became of the model."""
        try:
            self._hook.call("delete_audience_model", {"audience_model_arn": arn})
        except ResourceNotFoundError:
            plan.gone[arn] = "deleted since it was listed"
        except ConflictError as error:
            # The service refuses to delete a model that a configured audience model uses.
            self._explain_conflict(arn, plan, error)
        else:
            # Not "deleted": the deletion takes time, and the task does not wait for it.
            log.info("Deleting the audience model %s", arn)
            return True
        return False

    def _explain_conflict(self, arn: str, plan: Plan, error: ConflictError) -> None:
        """Add to the plan why the service refused: the model is already being deleted, or was put into service a moment ago."""
        model = self._find_model(arn)
        if model is None or model.status in DELETING:
            plan.gone[arn] = f"already {model.status}" if model else "deleted since it was listed"
        else:
            plan.keep[arn] = f"the service refused to delete it: {_extract_message(error)}"


def _matches(entry: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    dataset, prefix = arguments.get("training_dataset_arn"), arguments.get("name_prefix")
    return (dataset is None or entry["trainingDatasetArn"] == dataset) and str(entry["name"]).startswith(prefix or "")


def _extract_message(error: ConflictError) -> str:
    """Return the service's own message, without the lines around it."""
    text = str(error).splitlines()
    # Without a full stop: the message becomes part of a line that has its own.
    return (text[1] if len(text) > 1 else text[0]).strip().rstrip(".")
