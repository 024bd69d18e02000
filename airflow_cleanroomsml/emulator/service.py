"""One AWS service: its operations from the model, its methods from a backend."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel

from airflow_cleanroomsml.emulator import codec, faults
from airflow_cleanroomsml.emulator.errors import ApiError, invalid
from airflow_cleanroomsml.emulator.faults import Faults
from airflow_cleanroomsml.emulator.state import Caller
from airflow_cleanroomsml.service_model import load

_PAGE = 100


class Service:
    """
    Answers the requests of one service.

    :param name: boto3's name of the service.
    :param backend: Its public methods are the operations, by boto3's method names; what it does not have is answered with an error
        that says so and that no client retries.
    :param faults: Faults on request.
    """

    def __init__(self, name: str, backend: Any, faults: Faults) -> None:
        self.model = load(name)
        self.routes = codec.Routes(self.model)
        self._backend = backend
        self._faults = faults
        self._pagination = Loader().load_service_model(name, "paginators-1")["pagination"]

    def answer(self, operation: OperationModel, members: dict[str, Any], caller: Caller) -> tuple[int, dict[str, Any]]:
        """
        Carry out a request.

        :return: HTTP status and body.
        :raises ApiError: Whatever the backend refuses.
        """
        method = self._method(operation)
        fault = self._faults.take(operation.name, caller.account)
        faults.before(fault)
        arguments = {xform_name(name): value for name, value in members.items()}
        with self._backend.store.lock:
            result = self._listed(operation, method, caller, arguments)
        faults.after(fault)
        shape = operation.output_shape
        return int(operation.http.get("responseCode", 200)), codec.serialise(shape, result) if shape else {}

    def _method(self, operation: OperationModel) -> Callable[..., Any]:
        found = getattr(self._backend, xform_name(operation.name), None)
        if found is None:
            raise ApiError(
                "NotImplementedByEmulatorException", f"This emulator does not have {operation.name}.", status=400
            )
        method: Callable[..., Any] = found
        return method

    def _listed(
        self, operation: OperationModel, method: Callable[..., Any], caller: Caller, arguments: dict[str, Any]
    ) -> Any:
        rule = self._pagination.get(operation.name)
        if rule is None:
            return method(caller, **arguments)
        size = arguments.pop("max_results", _PAGE)
        begin = _position(arguments.pop("next_token", ""))
        entries = method(caller, **arguments)
        more = begin + size < len(entries)
        return {rule["result_key"]: entries[begin : begin + size], "nextToken": _token(begin + size) if more else None}


def _token(position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"from": position}).encode()).decode()


def _position(token: str) -> int:
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["from"]) if token else 0
    except (ValueError, KeyError, TypeError):
        raise invalid("nextToken is not one that this service gave out.") from None
