"""The poller's parser of timestamps: it agrees with botocore's, but parses the formats that AWS usually sends by itself."""

from __future__ import annotations

from datetime import timezone
from typing import Any

import pytest
from botocore.utils import parse_timestamp

from airflow_cleanroomsml._polling.client import read_timestamp

EPOCHS: list[Any] = [0, 1_793_536_215, 1_793_536_215.25, 1_793_491_199.999, -1, 253_402_300_799]
DATE_TIMES = ["2026-11-01T12:30:15.250Z", "2026-11-01T12:30:15Z", "2026-11-01T12:30:15+05:30"]
OTHERS: list[Any] = [
    "1793536215",
    "20261124",
    "20261124T101010Z",
    "2026-11-24",
    "Sun, 01 Nov 2026 12:30:15 GMT",
    -50_000_000_000,
]


@pytest.mark.parametrize("value", [*EPOCHS, *DATE_TIMES, *OTHERS])
def test_timestamp_equals_that_of_botocore(value: Any) -> None:
    actual, expected = read_timestamp(value), parse_timestamp(value)
    assert actual.replace(tzinfo=actual.tzinfo or timezone.utc) == expected.replace(
        tzinfo=expected.tzinfo or timezone.utc
    )


@pytest.mark.parametrize("value", [*EPOCHS, *DATE_TIMES])
def test_usual_formats_are_read_by_standard_library(value: Any) -> None:
    assert isinstance(read_timestamp(value).tzinfo, timezone)


@pytest.mark.parametrize("value", ["yesterday", None, []])
def test_invalid_timestamp_is_error(value: Any) -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        read_timestamp(value)
