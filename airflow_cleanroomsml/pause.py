"""The trigger of a pause between two polls in the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_cleanroomsml import _clock


# A module of its own: the triggerer imports neither boto3 nor the hook for a trigger that only sleeps.
class CleanRoomsMLPauseTrigger(BaseTrigger):
    """
    Wait until a point in time; its event has its own keyword arguments.

    :param until: When it ends, in seconds since 1970.
    :param deadline: When the wait that the pause belongs to ends, in seconds since 1970.
    """

    def __init__(self, *, until: float, deadline: float) -> None:
        super().__init__()
        self.until = until
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; later releases must be able to read both."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"until": self.until, "deadline": self.deadline}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep."""
        await _clock.sleep_async(max(0.0, self.until - _clock.now()))
        # With the deadline, because the task that resumes has no state of its own.
        yield TriggerEvent({"until": self.until, "deadline": self.deadline})


__all__ = ["CleanRoomsMLPauseTrigger"]
