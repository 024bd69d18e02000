"""The few names of Airflow that moved between 2.11 and 3.x, from wherever this Airflow keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, BaseSensorOperator, Context, PokeReturnValue, XComArg
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
    )
else:
    try:
        from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue, XComArg
    except ImportError:  # Airflow 2.11
        from airflow.models.baseoperator import BaseOperator
        from airflow.models.xcom_arg import XComArg
        from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # before Airflow 3.1
        from airflow.configuration import conf
    try:
        from airflow.sdk import exceptions
    except ImportError:  # before Airflow 3.1
        from airflow import exceptions

    AirflowException = exceptions.AirflowException
    AirflowFailException = exceptions.AirflowFailException
    AirflowSensorTimeout = exceptions.AirflowSensorTimeout
    AirflowSkipException = exceptions.AirflowSkipException
    AirflowTaskTimeout = exceptions.AirflowTaskTimeout
    TaskDeferralError = exceptions.TaskDeferralError
    # An older Airflow raises the one for the other.
    TaskDeferralTimeout = getattr(exceptions, "TaskDeferralTimeout", TaskDeferralError)

    Context = dict

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseOperator",
    "BaseSensorOperator",
    "Context",
    "PokeReturnValue",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "XComArg",
    "conf",
]
