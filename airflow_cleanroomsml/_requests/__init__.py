"""
Requests as botocore's service models describe them, for operators and for the emulator.

The emulator runs without Airflow, so no module of this package imports it.
"""
