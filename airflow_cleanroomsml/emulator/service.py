"""One AWS service: operations from the service model, carried out by methods of the backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel

from airflow_cleanroomsml._requests.model import load
from airflow_cleanroomsml._requests.permissions import list_permissions
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML
from airflow_cleanroomsml.emulator import faults, wire
from airflow_cleanroomsml.emulator.backend.access import COLLABORATION, MEMBERSHIP
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.errors import ApiError, access_denied_error, not_implemented_error
from airflow_cleanroomsml.emulator.faults import CallFaults, ConnectionDropped
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

#: An assumption: AWS documents the default only for the operations below.
_PAGE_SIZE = 100
#: Operations with another page size where ``maxResults`` is not set (API reference).
_PAGE_SIZES = {"ListTrainedModelVersions": 10}


class Service:
    """
    Handles the requests of one service.

    :param name: boto3's name of the service.
    :param methods: Carry out the operations, by boto3's method names. Other operations fail with an error that clients do not retry.
    :param shared: State of the emulator.
    :param scope: What the emulator supports of the service, for the error of an unsupported operation; empty for everything.
    """

    def __init__(self, name: str, methods: Mapping[str, Callable[..., Any]], shared: Shared, scope: str = "") -> None:
        self.model = load(name)
        # The two services name this error differently; botocore 1.37.3 (Airflow 2.11.0's constraints) has only that of cleanrooms.
        is_known = "InternalServerException" in self.model.shape_names
        self.internal_error = "InternalServerException" if is_known else "InternalServiceException"
        self._scope = scope
        self.routes = wire.Routes(self.model)
        self._methods = methods
        self._shared = shared
        self._pagination = Loader().load_service_model(name, "paginators-1")["pagination"]

    def handle(self, operation: OperationModel, members: dict[str, Any], caller: Caller) -> wire.HttpResponse:
        """
        Carry out a request.

        :raises ApiError: The request is rejected.
        """
        method = self._find_method(operation)
        shared, now = self._shared, self._shared.clock.now()
        # Under the lock, so that no other request sees the state before a commit that is due.
        with shared.store.lock:
            shared.delayed_commits.run_due(shared.clock)
            self._require_rate(operation.name, caller)
        # Before the faults, so that a denied request does not use one up.
        shared.permissions.require(caller, list_permissions(operation, members))
        call_faults = shared.faults.take(operation.name, caller.account, now)
        try:
            faults.raise_before_commit(call_faults.outcome, self.internal_error)
            commit = partial(self._commit, operation, method, members, caller, call_faults)
            if call_faults.outcome is not None and call_faults.kind == "late_commit":
                shared.delayed_commits.add(now + call_faults.outcome.seconds, commit)
                raise ConnectionDropped
            response = commit()
            faults.raise_after_commit(call_faults.kind)
        finally:
            # Outside of the lock, so that a slow response delays no other request.
            if call_faults.delay:
                shared.clock.sleep(call_faults.delay)
        return response

    def _require_rate(self, operation: str, caller: Caller) -> None:
        """Throttle a request that exceeds the published rate, if the settings ask for that."""
        is_limited = self._shared.settings.published_rates and self.model.service_name == CLEAN_ROOMS_ML
        if is_limited and not self._shared.token_buckets.take(operation, caller, self._shared.clock.now()):
            raise faults.throttling_error()

    def _commit(
        self,
        operation: OperationModel,
        method: Callable[..., Any],
        members: dict[str, Any],
        caller: Caller,
        call_faults: CallFaults,
    ) -> wire.HttpResponse:
        arguments = {xform_name(name): value for name, value in members.items()}
        fault = call_faults.modifiers.get("fail_job")
        failure = fault.build_job_failure(members) if fault else None
        staleness = call_faults.staleness
        is_hidden = None
        if staleness is not None:
            is_hidden = _hide_newer_than(self._shared.clock.now() - staleness, operation.name)
        with self._shared.store.serve_request(failure, is_hidden):
            # Encoded under the lock too: the result can contain fields of records, which the next request may change.
            result = _translate_undeclared(operation, lambda: self._call(operation, method, caller, arguments))
            return wire.build_response(operation, result)

    def _find_method(self, operation: OperationModel) -> Callable[..., Any]:
        method = self._methods.get(xform_name(operation.name))
        if method is None:
            raise not_implemented_error(f"The emulator does not support {operation.name}. {self._scope}".rstrip())
        return method

    def _call(
        self, operation: OperationModel, method: Callable[..., Any], caller: Caller, arguments: dict[str, Any]
    ) -> Any:
        paginator = self._pagination.get(operation.name)
        if paginator is None:
            return method(caller, **arguments)
        size = arguments.pop("max_results", _PAGE_SIZES.get(operation.name, _PAGE_SIZE))
        token = arguments.pop("next_token", None)
        tokens = self._shared.page_tokens
        after = tokens.read_position(token, operation.name, caller, arguments) if token else 0
        listing: Listing = method(caller, **arguments)
        page, last = listing.read_page(after, size)
        next_token = tokens.issue(last, operation.name, caller, arguments) if last else None
        return {paginator["result_key"]: page, "nextToken": next_token}


def _hide_newer_than(time: float, operation: str) -> Callable[[Record], bool]:
    """
    Return a filter for the records that a stale read does not see.

    It only hides memberships and collaborations from operations that read these themselves: other operations look up their resources in
    them, and would fail.
    """
    target = operation.removesuffix("s").lower()

    def is_hidden(record: Record) -> bool:
        is_parent = record.kind in (COLLABORATION, MEMBERSHIP)
        return record.lifecycle.created_at > time and (not is_parent or target.endswith(record.kind))

    return is_hidden


def _translate_undeclared(operation: OperationModel, call: Callable[[], Any]) -> Any:
    """Turn ResourceNotFoundException into AccessDeniedException for operations that do not declare it."""
    try:
        return call()
    except ApiError as error:
        missing = "ResourceNotFoundException"
        if error.code != missing or missing in [shape.name for shape in operation.error_shapes]:
            raise
        raise access_denied_error(error.message) from None
