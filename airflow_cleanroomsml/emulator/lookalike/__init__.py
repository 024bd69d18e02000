"""
The lookalike engine: it reads training data, fits a model, and generates, evaluates and exports audiences.

It knows neither HTTP nor accounts. Its callers pass boto3 clients and members of requests, and turn a :class:`JobFailure` into
``statusDetails``. A model serves any number of seeds, a generated audience any number of exports.

The entry points are ``model.train``, ``audience.generate`` and ``export.export``. Import them in the job: numpy, pyarrow, scipy and
scikit-learn take longer to import than the emulator takes to start.
"""

from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, StatusCode

__all__ = ["DataRules", "JobFailure", "StatusCode"]
