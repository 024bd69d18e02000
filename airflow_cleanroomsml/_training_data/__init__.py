"""
The requirements of training data and seeds, and how tables and files are read.

:mod:`~airflow_cleanroomsml._training_data.rules` lists every rule. The check before training and the emulator's training apply the same
functions, so that they refuse the same data. Nothing here imports Airflow, and nothing that a Dag file loads imports pyarrow or botocore.
"""
