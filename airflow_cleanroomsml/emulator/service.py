"""One AWS service: its operations from the model, its methods from a backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel

from airflow_cleanroomsml._requests.model import load
from airflow_cleanroomsml._requests.permissions import required_permissions
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML
from airflow_cleanroomsml.emulator import faults, page_tokens, wire
from airflow_cleanroomsml.emulator.backend.access import COLLABORATION, MEMBERSHIP
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.errors import ApiError, denied
from airflow_cleanroomsml.emulator.faults import ConnectionDropped, Met
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

_PAGE = 100
#: Pages of another size where ``maxResults`` is not given (API reference).
_PAGES = {"ListTrainedModelVersions": 10}


class Service:
    """
    Answers the requests of one service.

    :param name: boto3's name of the service.
    :param backend: Its public methods are the operations, by boto3's method names; what it does not have is answered with an error
        that says so and that no client retries.
    :param shared: The emulator's state.
    :param extent: What it has of the service, for the error that tells what it does not have; empty where it has everything.
    """

    def __init__(self, name: str, backend: Any, shared: Shared, extent: str = "") -> None:
        self.model = load(name)
        known = self.model.shape_names
        self.internal_error = next(n for n in ("InternalServiceException", "InternalServerException") if n in known)
        self._extent = extent
        self.routes = wire.Routes(self.model)
        self._backend = backend
        self._shared = shared
        self._pagination = Loader().load_service_model(name, "paginators-1")["pagination"]

    def answer(self, operation: OperationModel, members: dict[str, Any], caller: Caller) -> wire.Answer:
        """
        Carry out a request.

        :raises ApiError: Whatever the backend refuses.
        """
        method = self._method(operation)
        shared, now = self._shared, self._shared.clock.now()
        with shared.store.lock:
            shared.late.settle(shared.clock)
            self._require_rate(operation.name, caller)
        shared.permissions.require(caller, required_permissions(operation, members))
        met = shared.faults.take(operation.name, caller.account, now)
        try:
            faults.before(met.end, self.internal_error)
            carry_out = partial(self._carry_out, operation, method, members, caller, met)
            if met.end is not None and met.kind == "late_commit":
                shared.late.add(now + met.end.seconds, carry_out)
                raise ConnectionDropped
            answer = carry_out()
            faults.after(met.kind)
        finally:
            if met.slow:
                shared.clock.sleep(met.slow)
        return answer

    def _require_rate(self, operation: str, caller: Caller) -> None:
        """Refuse what comes faster than the published rates, where they are in force."""
        limited = self._shared.settings.published_rates and self.model.service_name == CLEAN_ROOMS_ML
        if limited and not self._shared.buckets.take(operation, caller, self._shared.clock.now()):
            raise faults.throttled()

    def _carry_out(
        self, operation: OperationModel, method: Callable[..., Any], members: dict[str, Any], caller: Caller, met: Met
    ) -> wire.Answer:
        arguments = {xform_name(name): value for name, value in members.items()}
        failing = met.besides.get("fail_job")
        verdict = failing.verdict(members) if failing else None
        hidden = None if met.stale is None else _newer(operation.name, self._shared.clock.now() - met.stale)
        with self._shared.store.serving(verdict, hidden):
            result = _declared(operation, lambda: self._listed(operation, method, caller, arguments))
            return wire.answer(operation, result)

    def _method(self, operation: OperationModel) -> Callable[..., Any]:
        found = getattr(self._backend, xform_name(operation.name), None)
        if found is None:
            text = f"This emulator does not have {operation.name}. {self._extent}".rstrip()
            raise ApiError("NotImplementedByEmulatorException", text, status=400)
        method: Callable[..., Any] = found
        return method

    def _listed(
        self, operation: OperationModel, method: Callable[..., Any], caller: Caller, arguments: dict[str, Any]
    ) -> Any:
        rule = self._pagination.get(operation.name)
        if rule is None:
            return method(caller, **arguments)
        size = arguments.pop("max_results", _PAGES.get(operation.name, _PAGE))
        token = arguments.pop("next_token", None)
        after = page_tokens.position(token, operation.name, caller, arguments) if token else 0
        listing: Listing = method(caller, **arguments)
        page, last = listing.page(after, size)
        more = page_tokens.issue(last, operation.name, caller, arguments) if last else None
        return {rule["result_key"]: page, "nextToken": more}


def _newer(operation: str, since: float) -> Callable[[Record], bool]:
    """
    What a read of the state at an earlier time does not find: what was created since.

    Memberships and collaborations, in which the others are looked up, are missing where it asks for them only.
    """
    asked = operation.removesuffix("s").lower()

    def hides(record: Record) -> bool:
        frame = record.kind in (COLLABORATION, MEMBERSHIP)
        return record.life.born > since and (not frame or asked.endswith(record.kind))

    return hides


def _declared(operation: OperationModel, call: Callable[[], Any]) -> Any:
    """What is not there is told as "access denied" by the operations that declare no ResourceNotFoundException."""
    try:
        return call()
    except ApiError as error:
        missing = "ResourceNotFoundException"
        if error.code != missing or missing in [shape.name for shape in operation.error_shapes]:
            raise
        raise denied(error.message) from None
