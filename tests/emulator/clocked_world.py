"""What the tests of the emulator share: an account whose jobs take 200 seconds of a clock that is pushed."""

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
        """A client whose answers are held to the service model: required members, types, enums, patterns."""
        client = super()._make_client(service)
        if service in ("cleanroomsml", "cleanrooms"):
            client.meta.events.register("after-call", check_answer)
        return client

    @property
    def rooms(self) -> Any:
        """The client of the sister service."""
        return self.client("cleanrooms")

    def push(self, seconds: float) -> None:
        """Push the clock forward."""
        self.emulator._control("clock", {"advance": seconds})

    def wait(self, arn: str) -> dict[str, Any]:
        self.push(300)
        return super().wait(arn)


#: The base version of a trained model is "NULL" (API reference), which the model's own pattern of a UUID does not allow; and a small scale
#: makes the least matching seed smaller than the model allows.
ALLOWED = ("ersionIdentifier: 'NULL' has 4 characters", "minMatchingSeedSize: 1 is out of range")


def check_answer(parsed: dict[str, Any], model: OperationModel, **_: Any) -> None:
    """Refuse an answer that breaks the service model."""
    if model.output_shape is None or "Error" in parsed:
        return
    check = RequestCheck(convert=False)
    check.check_structure(model.output_shape, {k: v for k, v in parsed.items() if k != "ResponseMetadata"}, "")
    broken = [text for text in map(str, check.violations) if not any(known in text for known in ALLOWED)]
    assert broken == [], f"{model.name}: {broken}"


def expect_refusal(code: str, call: Callable[..., Any], **members: Any) -> dict[str, Any]:
    """The answer to a request that is refused with this code."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer: dict[str, Any] = dict(caught.value.response)
    assert answer["Error"]["Code"] == code, answer
    return answer
