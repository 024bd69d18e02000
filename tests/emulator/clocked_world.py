"""An account for the emulator's tests, whose jobs take 200 seconds of a clock that the tests advance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel

from airflow_cleanroomsml._requests.validation import RequestCheck
from tests.support import World

OPTIONS = ("--scale", "0.001", "--pending-seconds", "100", "--progress-seconds", "100", "--delete-seconds", "100")


class ClockedWorld(World):
    """An account in an emulator with :data:`OPTIONS`."""

    def _make_client(self, service: str) -> Any:
        """Make a client that checks each response against the service model: required members, types, enums, patterns."""
        client = super()._make_client(service)
        if service in ("cleanroomsml", "cleanrooms"):
            client.meta.events.register("after-call", check_response)
        return client

    @property
    def cleanrooms(self) -> Any:
        """The client of Clean Rooms."""
        return self.client("cleanrooms")

    def advance(self, seconds: float) -> None:
        """Advance the emulator's clock."""
        self.emulator._control("clock", {"advance": seconds})

    def wait(self, arn: str) -> dict[str, Any]:
        self.advance(300)
        return super().wait(arn)


#: The base version of a trained model is "NULL" (API reference), although the service model's pattern allows only UUIDs. With a small
#: scale, the minimum matching seed size is smaller than the service model allows.
KNOWN_VIOLATIONS = ("ersionIdentifier: 'NULL' has 4 characters", "minMatchingSeedSize: 1 is out of range")


def check_response(parsed: dict[str, Any], model: OperationModel, **_: Any) -> None:
    """Fail if a response violates the service model."""
    if model.output_shape is None or "Error" in parsed:
        return
    check = RequestCheck(convert=False)
    check.check_structure(model.output_shape, {k: v for k, v in parsed.items() if k != "ResponseMetadata"}, "")
    violations = [text for text in map(str, check.violations) if not any(known in text for known in KNOWN_VIOLATIONS)]
    assert violations == [], f"{model.name}: {violations}"


def expect_error(code: str, call: Callable[..., Any], **members: Any) -> dict[str, Any]:
    """Send a request that must fail with this error code, and return the error response."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    response: dict[str, Any] = dict(caught.value.response)
    assert response["Error"]["Code"] == code, response
    return response
