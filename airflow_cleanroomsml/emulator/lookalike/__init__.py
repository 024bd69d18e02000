"""
The engine behind lookalike audiences: it reads real data, fits a real model, and measures it honestly.

It knows neither HTTP nor accounts: the front of the emulator hands it clients and the members of requests, and turns a
:class:`JobFailure` into ``statusDetails``. One model serves any number of seeds, one generated audience any number of exports.

``model.train``, ``audience.generate`` and ``export.export`` are its entry points. Import them where a job runs: what they compute with
takes longer to import than the emulator takes to start.
"""

from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, StatusCode
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules

__all__ = ["DataRules", "JobFailure", "StatusCode"]
