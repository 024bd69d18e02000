"""What the tests of the emulator share: an account whose jobs take 200 seconds of a clock that is pushed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support import World

OPTIONS = ("--scale", "0.001", "--pending-seconds", "100", "--progress-seconds", "100", "--delete-seconds", "100")


class ClockedWorld(World):
    """An account in an emulator with :data:`OPTIONS`."""

    @cached_property
    def _ml(self) -> Any:
        return self.client("cleanroomsml")

    @cached_property
    def _rooms(self) -> Any:
        return self.client("cleanrooms")

    @property
    def ml(self) -> Any:
        return self._ml

    @property
    def rooms(self) -> Any:
        """The client of the sister service."""
        return self._rooms

    def push(self, seconds: float) -> None:
        """Push the clock forward."""
        self.emulator._control("clock", {"advance": seconds})

    def wait(self, arn: str) -> dict[str, Any]:
        self.push(300)
        return super().wait(arn)


def refused(code: str, call: Callable[..., Any], **members: Any) -> dict[str, Any]:
    """The answer to a request that is refused with this code."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer: dict[str, Any] = dict(caught.value.response)
    assert answer["Error"]["Code"] == code, answer
    return answer
