"""
Task groups for Dags of ten lines: functions that return a :class:`TaskGroup` of this package's operators.

They hold no logic of their own: for another task, or another argument, write the operators out as the example Dags do. Arguments that all
operators of a group share, such as ``aws_conn_id``, ``deferrable`` or ``retries``, go into ``default_args``. The output of a task is
``group.get_child_by_label("export").output``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow_cleanroomsml._compat import TaskGroup
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCheckAudienceModelAgeOperator,
    CleanRoomsMLChooseAudienceSizeOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLPromoteAudienceModelOperator,
    CleanRoomsMLPruneAudienceModelsOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)

if TYPE_CHECKING:
    from airflow_cleanroomsml.request_types import AudienceGenerationJobDataSource
    from airflow_cleanroomsml.typing import Templated

#: A template of the run's date, for names. A run that was started by hand may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
#: A template of the start of the run's data interval; a run that has none trains on everything up to now.
DATA_INTERVAL_START = "{{ dag_run.data_interval_start }}"
#: A template of the end of the run's data interval.
DATA_INTERVAL_END = "{{ dag_run.data_interval_end }}"
#: The end of what can be trained on now.
_DATA_END = "{{ dag_run.data_interval_end or dag_run.run_after }}"


def retrained_audience_model(
    group_id: str = "retrained_audience_model",
    *,
    training_dataset_arn: Templated[str],
    configured_audience_model_arn: Templated[str],
    name_prefix: str = "weekly-",
    keep: Templated[int] = 4,
    training_data_start_time: Templated[datetime] | None = DATA_INTERVAL_START,
    default_args: dict[str, Any] | None = None,
) -> TaskGroup:
    """
    Train an audience model on the run's data interval, put it into service, and prune: ``check``, ``train``, ``promote``, ``prune``.

    The Dag needs a schedule with data intervals, such as ``CronDataIntervalTimetable``, and ``max_active_runs=1``.

    :param group_id: Identifier of the group, the prefix of its tasks.
    :param training_dataset_arn: ARN of the training dataset.
    :param configured_audience_model_arn: ARN of the configured audience model whose audience model is replaced.
    :param name_prefix: Prefix of the models' names, which end with the run's date; other models of the dataset are not pruned.
    :param keep: Number of the newest models to keep, 1 to 500.
    :param training_data_start_time: Start of the training window; its end is that of the data interval.
    :param default_args: Arguments of all tasks of the group.
    """
    with _build_group(group_id, default_args) as group:
        check = CleanRoomsMLCheckAudienceModelAgeOperator(
            task_id="check",
            configured_audience_model_arn=configured_audience_model_arn,
            training_data_end_time=_DATA_END,
        )
        train = CleanRoomsMLCreateAudienceModelOperator(
            task_id="train",
            name=name_prefix + RUN,
            training_dataset_arn=training_dataset_arn,
            training_data_start_time=training_data_start_time,
            training_data_end_time=DATA_INTERVAL_END,
            # A run that is cleared must not fail on, or train again, the model that it has already paid for.
            if_exists="reuse",
        )
        promote = CleanRoomsMLPromoteAudienceModelOperator(
            task_id="promote",
            configured_audience_model_arn=configured_audience_model_arn,
            audience_model_arn=train.output,
        )
        prune = CleanRoomsMLPruneAudienceModelsOperator(
            task_id="prune",
            keep=keep,
            training_dataset_arn=training_dataset_arn,
            name_prefix=name_prefix,
            # A cleared run of an earlier week must not delete the models of later weeks.
            not_newer_than=train.output,
        )
        check >> train >> promote >> prune
    return group


def lookalike_audience(
    group_id: str = "lookalike_audience",
    *,
    name: Templated[str],
    configured_audience_model_arn: Templated[str],
    seed_audience: Templated[AudienceGenerationJobDataSource],
    collaboration_id: Templated[str] | None = None,
    min_relevance: Templated[float] = 0.0,
    if_unsuitable: Literal["fail", "skip"] = "fail",
    default_args: dict[str, Any] | None = None,
) -> TaskGroup:
    """
    Generate an audience and export the largest size that is relevant enough: ``generate``, ``choose``, ``export``.

    :param group_id: Identifier of the group, the prefix of its tasks.
    :param name: Name of the generation job and of the export, which includes the run, for instance ``"segment-" + RUN``.
    :param configured_audience_model_arn: ARN of the configured audience model.
    :param seed_audience: Where the seed is, and the role that reads it.
    :param collaboration_id: Collaboration in which the model of another account is used.
    :param min_relevance: Least relevance of the size, -1 to 1.
    :param if_unsuitable: What to do if the recall is no better than random, metrics are not shared, or no size is relevant enough.
    :param default_args: Arguments of all tasks of the group.
    """
    with _build_group(group_id, default_args) as group:
        generate = CleanRoomsMLStartAudienceGenerationJobOperator(
            task_id="generate",
            name=name,
            configured_audience_model_arn=configured_audience_model_arn,
            seed_audience=seed_audience,
            collaboration_id=collaboration_id,
            # A group that is cleared as a whole continues with the audience that was already paid for.
            if_exists="reuse",
        )
        choose = CleanRoomsMLChooseAudienceSizeOperator(
            task_id="choose",
            # Not the metrics in XCom: where they are not shared there are none, and Airflow would fail the task.
            audience_generation_job_arn=generate.output,
            min_relevance=min_relevance,
            if_unsuitable=if_unsuitable,
        )
        CleanRoomsMLStartAudienceExportJobOperator(
            task_id="export",
            name=name,
            audience_generation_job_arn=generate.output,
            audience_size=choose.output,
            if_exists="reuse",
        )
    return group


def _build_group(group_id: str, default_args: dict[str, Any] | None) -> TaskGroup:
    # Airflow takes no None, and mypy does not see through the converter of its own annotation.
    given: Any = default_args or {}
    return TaskGroup(group_id, default_args=given)


__all__ = ["DATA_INTERVAL_END", "DATA_INTERVAL_START", "RUN", "lookalike_audience", "retrained_audience_model"]
