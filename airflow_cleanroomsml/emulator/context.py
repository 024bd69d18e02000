"""What both services and the controls have in common."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml.emulator.clock import Clock
from airflow_cleanroomsml.emulator.delayed_commits import LateCommits
from airflow_cleanroomsml.emulator.faults import Faults
from airflow_cleanroomsml.emulator.permissions import Permissions
from airflow_cleanroomsml.emulator.rate_limits import Buckets
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.emulator.store import Store


@dataclass
class Shared:
    """
    One emulator's state.

    :param settings: Switches, replaced as a whole.
    :param clock: Time.
    :param store: All resources.
    :param faults: Faults on request.
    :param late: What is carried out later.
    :param buckets: What is left of the published rates.
    :param permissions: What the callers of each account may do.
    :param journal: What was asked, the oldest first.
    """

    settings: Settings = field(default_factory=Settings)
    clock: Clock = field(default_factory=Clock)
    store: Store = field(default_factory=Store)
    faults: Faults = field(default_factory=Faults)
    late: LateCommits = field(default_factory=LateCommits)
    buckets: Buckets = field(default_factory=Buckets)
    permissions: Permissions = field(default_factory=Permissions)
    journal: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=100_000))

    def clear(self) -> None:
        """Forget resources, faults, limited permissions and what was asked; switches and clock stay, and what moto keeps."""
        self.store.clear()
        self.faults.clear()
        self.late.clear()
        self.buckets.clear()
        self.permissions.clear()
        self.journal.clear()
