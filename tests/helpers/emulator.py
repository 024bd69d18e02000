"""
``python -m tests.helpers.emulator``: the emulator, whose sessions of boto3 share what they read.

Each of its jobs has a session of its own, and each session reads and parses botocore's data files again: half the time of the tests of
jobs would go into that.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session

from airflow_cleanroomsml.emulator.__main__ import main

if __name__ == "__main__":
    module: Any = botocore.session
    module.create_loader = cache(module.create_loader)
    main()
