"""Which of two audience models is newer, and which of many may be deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

#: The end of a model's training data, and when the model was created.
Recency = tuple[datetime, datetime]

_TRAINING = ("CREATE_PENDING", "CREATE_IN_PROGRESS")
#: Statuses of a model that is being deleted.
DELETING = ("DELETE_PENDING", "DELETE_IN_PROGRESS")
# A failed model is of no use, and may count against the quota of 500 audience models (user guide, Quotas).
_FAILED = ("CREATE_FAILED", "DELETE_FAILED")


def compute_recency(model: Mapping[str, Any]) -> Recency:
    """
    Return how recent a model is: by the end of its training data, then by its creation.

    The creation alone is not enough: a model that was trained again on an old week is still an old model. A model without a training window
    was trained on everything up to its creation.

    :param model: What GetAudienceModel returns.
    """
    created = model["createTime"]
    return model.get("trainingDataEndTime") or created, created


class Model(NamedTuple):
    """
    An audience model that may be pruned.

    :param arn: Its ARN.
    :param status: Its status.
    :param recency: How recent it is.
    """

    arn: str
    status: str
    recency: Recency


class Plan(NamedTuple):
    """
    What becomes of each model, by ARN.

    :param delete: Models to delete, the oldest first.
    :param keep: Models to keep, each with the reason.
    :param gone: Models that somebody else is deleting already, each with its status.
    """

    delete: list[str]
    keep: dict[str, str]
    gone: dict[str, str]


def plan_pruning(
    models: Iterable[Model], in_service: Mapping[str, Sequence[str]], *, keep: int, own: Model | None = None
) -> Plan:
    """
    Decide which audience models to delete.

    :param models: The models of one training dataset or name prefix.
    :param in_service: ARNs of models in use, each with the names of the configured audience models that use it.
    :param keep: Number of the newest ACTIVE models to keep.
    :param own: Only models older than this one are deleted; None sets no such limit.
    """
    plan = Plan([], {}, {})
    # Failed models are not counted among the newest: after some failed trainings no model that can be used would be left.
    by_age = sorted(models, key=lambda model: model.recency)
    newest = {model.arn for model in [model for model in by_age if model.status == "ACTIVE"][-keep:]}
    # The order decides which reason the report gives; a model that may be deleted has passed all of them.
    for model in by_age:
        if model.status in DELETING:
            plan.gone[model.arn] = f"already {model.status}"
        elif reason := _find_reason_to_keep(model, in_service.get(model.arn, ()), own):
            plan.keep[model.arn] = reason
        elif model.arn in newest:
            plan.keep[model.arn] = f"among the {keep} newest" if keep > 1 else "the newest"
        elif model.status not in ("ACTIVE", *_FAILED):
            # AWS may add a status, and a deletion cannot be undone.
            plan.keep[model.arn] = f"unknown status {model.status}"
        else:
            plan.delete.append(model.arn)
    return plan


def _find_reason_to_keep(model: Model, used_by: Sequence[str], own: Model | None) -> str:
    """Return why a model is kept, however many newer ones there are; empty if nothing protects it."""
    if used_by:
        return f"used by {', '.join(map(repr, used_by))}"
    if model.status in _TRAINING:
        return f"in training ({model.status})"
    if own and model.arn == own.arn:
        return "this run's model"
    return "newer than this run's model" if own and model.recency >= own.recency else ""
