"""Types of the operators' arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar

from airflow_cleanroomsml._compat import XComArg

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from airflow.sdk import DAG, Context, TaskGroup
    from airflow.sdk.definitions.retry_policy import RetryPolicy
    from airflow.sdk.types import WeightRuleParam
    from typing_extensions import Required

T = TypeVar("T")

#: A value, a Jinja template that renders to it, or the output of another task.
Templated: TypeAlias = T | str | XComArg

_Callback: TypeAlias = "Callable[[Context], None]"


# Spelled out because a TypedDict is the only way to type **kwargs (PEP 692), and Airflow does not provide one.
class AirflowKwargs(TypedDict, total=False):
    """Arguments that Airflow 3.3 takes for every task; an older Airflow refuses the names that it does not know."""

    task_id: Required[str]
    owner: str
    email: str | Sequence[str] | None
    email_on_retry: bool
    email_on_failure: bool
    retries: int | None
    retry_delay: timedelta | float
    retry_exponential_backoff: float
    max_retry_delay: timedelta | float | None
    retry_policy: RetryPolicy | None
    start_date: datetime | None
    end_date: datetime | None
    depends_on_past: bool
    ignore_first_depends_on_past: bool
    wait_for_past_depends_before_skipping: bool
    wait_for_downstream: bool
    dag: DAG | None
    params: MutableMapping[str, Any] | None
    default_args: dict[str, Any] | None
    priority_weight: int
    weight_rule: WeightRuleParam
    queue: str
    pool: str | None
    pool_slots: int
    sla: timedelta | None
    execution_timeout: timedelta | None
    on_execute_callback: _Callback | Collection[_Callback] | None
    on_failure_callback: _Callback | list[_Callback] | None
    on_success_callback: _Callback | Collection[_Callback] | None
    on_retry_callback: _Callback | list[_Callback] | None
    on_skipped_callback: _Callback | list[_Callback] | None
    pre_execute: Callable[[Context], None] | None
    post_execute: Callable[[Context, Any], None] | None
    trigger_rule: str
    resources: dict[str, Any] | None
    run_as_user: str | None
    map_index_template: str | None
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    executor: str | None
    executor_config: dict[str, Any] | None
    do_xcom_push: bool
    multiple_outputs: bool
    inlets: Any | None
    outlets: Any | None
    task_group: TaskGroup | None
    doc: str | None
    doc_md: str | None
    doc_json: str | None
    doc_yaml: str | None
    doc_rst: str | None
    task_display_name: str | None
    logger_name: str | None
    allow_nested_operators: bool
    render_template_as_native_obj: bool | None


class AwsKwargs(AirflowKwargs, total=False):
    """Arguments that every operator takes besides its request; see ``CleanRoomsMLOperator``."""

    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: dict[str, Any] | None


class CreatingKwargs(AwsKwargs, total=False):
    """Arguments of creates and starts besides their request; see ``CleanRoomsMLCreateOperator``."""

    if_exists: Literal["fail", "reuse"]
    durable: bool


class UpdatingKwargs(AwsKwargs, total=False):
    """Arguments of the create of a configured audience model besides its request."""

    if_exists: Literal["fail", "reuse", "update"]
    durable: bool


class WaitingKwargs(AwsKwargs, total=False):
    """Arguments of operations that take time, besides their request; see ``CleanRoomsMLJobOperator``."""

    wait_for_completion: bool
    waiter_delay: float | None
    waiter_max_attempts: int | None
    deferrable: bool


class CreatingAndWaitingKwargs(CreatingKwargs, WaitingKwargs, total=False):
    """Arguments of creates and starts that take time, besides their request; see ``CleanRoomsMLJobOperator``."""

    quota_timeout: float
    cancel_on_kill: bool
    delete_on_kill: bool


class SensingKwargs(AwsKwargs, total=False):
    """Arguments of sensors besides those that say what to wait for: Airflow's own, and those of this package."""

    poke_interval: timedelta | float
    timeout: timedelta | float | None
    soft_fail: bool
    mode: str
    exponential_backoff: bool
    max_wait: timedelta | float | None
    silent_fail: bool
    never_fail: bool
    deferrable: bool


class GoalKwargs(SensingKwargs, total=False):
    """Arguments of sensors of a single resource besides its identifiers; see ``CleanRoomsMLSensor``."""

    goal: Literal["created", "deleted", "cancelled"]


__all__ = [
    "AirflowKwargs",
    "AwsKwargs",
    "CreatingAndWaitingKwargs",
    "CreatingKwargs",
    "GoalKwargs",
    "SensingKwargs",
    "Templated",
    "UpdatingKwargs",
    "WaitingKwargs",
]
