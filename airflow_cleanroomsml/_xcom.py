"""
What a task keeps in XCom: its results, the identity of what it created, and a note to itself while it is deferred.

``do_xcom_push=False`` turns off the results and the identity, but not the note: without it, a task whose deferral Airflow ended would not
know what it waited for. Nor does it turn off extra links (``links``), which Airflow 3 itself stores for every task.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _compat
from airflow_cleanroomsml._resources.table import Resource

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import BaseOperator, Context

log = logging.getLogger(__name__)

#: The key of the note.
DEFERRAL_KEY = "_cleanroomsml_deferral"
#: The key of the statuses that a task has seen while it waited.
STATUS_HISTORY_KEY = "status_history"


def push_results(operator: BaseOperator, context: Context, results: Mapping[str, Any]) -> None:
    """
    Push each result under its own key.

    :param results: Key to value, as JSON.
    """
    # xcom_push() itself ignores do_xcom_push, which Airflow applies to the return value only.
    if operator.do_xcom_push:
        for key, value in results.items():
            context["ti"].xcom_push(key=key, value=value)


def list_identity_keys(resource: Resource, arguments: Collection[str]) -> tuple[str, ...]:
    """
    Return the XCom keys for the identity of what an operator creates.

    An identifier that the service assigns has the name of the argument by which other operators take it. An export has none, so its
    noun stands for all its identifiers.

    :param resource: What the operator creates.
    :param arguments: The operator's request members; an identifier among them was known before.
    """
    if not resource.has_own_identifier:
        return (resource.noun.replace(" ", "_"),)
    return tuple(name for name in resource.identifiers if name not in arguments)


def build_identity(resource: Resource, arguments: Collection[str], identifiers: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the identity of a resource by its XCom keys; parameters as for :func:`list_identity_keys`.

    :param identifiers: The resource's identifying arguments; others are ignored.
    """
    known = {name: identifiers[name] for name in resource.identifiers if identifiers.get(name) is not None}
    keys = list_identity_keys(resource, arguments)
    return {key: known[key] for key in keys if key in known} if resource.has_own_identifier else {keys[0]: known}


def push_identity(operator: BaseOperator, context: Context, values: Mapping[str, Any]) -> None:
    """
    Push the identity of what was created; a failure is only logged.

    The resource exists by now. If its task failed here, a retry with ``durable=False`` would create another.

    :param values: As :func:`build_identity` returns them.
    """
    try_to_push_results(operator, context, values)


def push_status_history(operator: BaseOperator, context: Context, history: Sequence[Mapping[str, str]]) -> None:
    """
    Push the statuses that a task has seen; a failure is only logged, as it must not replace the result of the wait.

    :param history: Each status, and since when it was seen.
    """
    try_to_push_results(operator, context, {STATUS_HISTORY_KEY: list(history)})


def try_to_push_results(operator: BaseOperator, context: Context, results: Mapping[str, Any]) -> None:
    """Push results as :func:`push_results` does, for a task that fails or must not fail; a failure to push is only logged."""
    # Without a task instance, as when execute() is called by hand, there is nowhere to push to.
    if not context.get("ti"):
        return
    try:
        push_results(operator, context, results)
    except Exception:
        log.warning(
            "Could not push %s to XCom; this does not change how the task ends.", ", ".join(results), exc_info=True
        )


def keep_note(ti: Any, note: Mapping[str, Any]) -> None:
    """Keep a note while the task is deferred."""
    ti.xcom_push(key=DEFERRAL_KEY, value=dict(note))


def read_note(ti: Any) -> dict[str, Any]:
    """Read the note of this try; empty if there is none."""
    # Without map_indexes Airflow pulls from all siblings of a mapped task.
    note = ti.xcom_pull(task_ids=ti.task_id, key=DEFERRAL_KEY, map_indexes=ti.map_index) if ti else None
    return note if isinstance(note, dict) else {}


def delete_note(ti: Any) -> None:
    """Delete the note once the deferral is over; a failure does no harm and is only logged."""
    if not ti:
        return
    try:
        _compat.delete_xcom(ti, DEFERRAL_KEY)
    except Exception:
        log.info("Could not delete %s from XCom; the task continues.", DEFERRAL_KEY, exc_info=True)
