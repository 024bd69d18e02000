"""
Test Dags and other code against the emulator, without AWS.

In pytest, the fixture ``cleanroomsml`` is a :class:`RunningEmulator`; installing the package is enough to have it. In a notebook or a
script, :func:`emulator` yields one. Neither needs Airflow. Both need the extra ``emulator``, or an emulator that runs elsewhere.
"""

from __future__ import annotations

from airflow_cleanroomsml.testing.account import Account
from airflow_cleanroomsml.testing.admin_api import EmulatorError
from airflow_cleanroomsml.testing.clock import EmulatorClock
from airflow_cleanroomsml.testing.faults import Faults
from airflow_cleanroomsml.testing.running_emulator import RunningEmulator, emulator

__all__ = ["Account", "EmulatorClock", "EmulatorError", "Faults", "RunningEmulator", "emulator"]
