"""
The engine behind lookalike audiences: it reads real data, fits a real model, and measures it honestly.

It knows neither HTTP nor accounts: the front of the emulator hands it clients and the members of requests,
and turns a
:class:`JobFailure` into ``statusDetails``. One model serves any number of seeds, one generated audience any
    number of exports.
"""

from airflow_cleanroomsml.emulator.lookalike.audience import GeneratedAudience, generate
from airflow_cleanroomsml.emulator.lookalike.export import export
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, StatusCode
from airflow_cleanroomsml.emulator.lookalike.model import LookalikeModel, train
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules

__all__ = [
    "DataRules",
    "GeneratedAudience",
    "JobFailure",
    "LookalikeModel",
    "StatusCode",
    "export",
    "generate",
    "train",
]
