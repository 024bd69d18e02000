"""Values from XComs and native templates are converted to plain Python values of the types in the service model."""

from __future__ import annotations

import enum
import json
import math
from array import array
from collections import UserDict, deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from airflow_cleanroomsml._requests.request import Request, load
from airflow_cleanroomsml._requests.validation import RequestCheck
from tests.requests.test_validation import CONFIGURED, JOB, build_request, convert_start_time, find_violations

if TYPE_CHECKING:
    import numpy as np
else:
    try:
        import numpy as np
    except ImportError:  # the environment of the oldest Airflow has no numpy
        np = None

needs_numpy = pytest.mark.skipif(np is None, reason="numpy is not installed")
UTC = timezone.utc


class Count(enum.IntEnum):
    LEAST = 25


class Three(enum.IntEnum):
    ALL = 3


class Metric(str, enum.Enum):
    ALL = "ALL"


class Level(enum.Enum):
    ALL = "ALL"


class Index:
    """An integer type of another library, which has only ``__index__``."""

    def __repr__(self) -> str:
        # Part of the test ID, which must be the same in every worker.
        return "Index()"

    def __index__(self) -> int:
        return 25


class Lazy(Sequence[Any]):
    """A sequence that reads its items on access, as Airflow's outputs of mapped tasks do."""

    def __init__(self, *items: Any) -> None:
        self._items = items

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)


def is_plain(value: Any) -> bool:
    """Whether a value consists only of built-in types that JSON supports."""
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in (str, int, float, bool)


def convert(name: str, value: Any) -> Any:
    request = build_request(**{name: value})
    request.raise_for_violations()
    argument = request.arguments[name]
    assert is_plain(argument), type(argument)
    json.dumps(argument)
    return argument


def convert_size(value: Any) -> Any:
    """Convert the value of a member that may be any number; return it with the violations."""
    shape: Any = load().shape_for("TrainedModelExportsMaxSizeValue")
    check = RequestCheck()
    return check.check_value(shape, value, "maxSize"), [str(violation) for violation in check.violations]


INTEGERS: list[Any] = [
    25,
    "25",
    25.0,
    Decimal(25),
    Decimal("25.00"),
    Decimal("2.5E1"),
    Fraction(25),
    Count.LEAST,
    Index(),
]


@pytest.mark.parametrize("value", INTEGERS, ids=repr)
def test_whole_number_of_any_type_becomes_int(value: Any) -> None:
    assert convert("min_matching_seed_size", value) == 25


@needs_numpy
@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "float16", "float32", "float64", "longdouble", "str_"])
def test_whole_numpy_scalar_becomes_int(kind: str) -> None:
    assert convert("min_matching_seed_size", getattr(np, kind)(25)) == 25
    assert convert("tags", {"year": np.int64(2026)}) == {"year": "2026"}


FRACTIONS: list[Any] = [
    25.5,
    Decimal("25.5"),
    Fraction(51, 2),
    math.inf,
    math.nan,
    Decimal("Infinity"),
    Decimal("NaN"),
    Decimal("sNaN"),
    25 + 0j,
    True,
    b"25",
    "25.0",
    "1_000",
    "0x1F",
    Level.ALL,
    timedelta(25),
]


@pytest.mark.parametrize("value", FRACTIONS, ids=repr)
def test_other_value_is_rejected_as_integer(value: Any) -> None:
    (violation,) = find_violations(min_matching_seed_size=value)
    assert violation.startswith("min_matching_seed_size: ")
    assert violation.endswith("; must be an integer")


@needs_numpy
@pytest.mark.parametrize(
    "value",
    [
        lambda: np.float64(25.5),
        lambda: np.float32("nan"),
        lambda: np.float64("inf"),
        lambda: np.bool_(True),
        lambda: np.array([25]),
        lambda: np.array([25, 50]),
        lambda: np.timedelta64(25, "s"),
        lambda: np.datetime64("2026-11-24"),
    ],
)
def test_other_numpy_value_is_rejected_as_integer(value: Callable[[], Any]) -> None:
    (violation,) = find_violations(min_matching_seed_size=value())
    assert violation.endswith("; must be an integer")


def test_huge_number_is_rejected_with_short_violation() -> None:
    for value in (10**400, 10**5000, Decimal("1E+5000"), Decimal("1E+999999999"), Fraction(10**400)):
        (violation,) = find_violations(min_matching_seed_size=value)
        assert violation.startswith("min_matching_seed_size: ")
        assert len(violation) < 200
    assert len(find_violations(tags={"k": 10**5000})) == 1
    assert len(convert_size(10**400)[1]) == 1


def test_number_of_any_type_is_converted() -> None:
    for value in (3, 3.0, "3", " 3.0 ", Decimal(3), Fraction(3), Three.ALL):
        number, violations = convert_size(value)
        assert violations == []
        assert is_plain(number)
        assert number == 3
    assert convert_size(Decimal("0.1")) == (0.1, [])
    assert convert_size(Fraction(1, 4)) == (0.25, [])


@needs_numpy
def test_numpy_scalar_becomes_number() -> None:
    for kind in ("int64", "float16", "float32", "float64"):
        number, violations = convert_size(getattr(np, kind)(3))
        assert (number, violations) == (3, [])
        assert is_plain(number)
    for value in (np.bool_(True), np.array([1.5, 2.5]), np.float64("nan")):
        assert convert_size(value)[1][0].endswith("; must be a number")


@pytest.mark.parametrize(
    "value",
    [True, "1_000", "nan", "inf", math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), 1j, "٣"],
    ids=repr,
)
def test_number_that_json_lacks_is_rejected(value: Any) -> None:
    (violation,) = convert_size(value)[1]
    assert violation.endswith("; must be a number")


def test_infinite_number_is_not_called_a_float() -> None:
    (violation,) = convert_size(math.inf)[1]
    assert "inf is not a finite number; must be a number" in violation


@needs_numpy
def test_numpy_bool_becomes_bool() -> None:
    for value in (np.bool_(False), np.array(True)[()]):
        job = Request(load(), "start_audience_generation_job", {**JOB, "include_seed_in_output": value})
        assert job.violations == []
        assert job.members["includeSeedInOutput"] is bool(value)
    for wrong in (np.int64(1), np.float64(0), np.array([True, False]), np.array([True])):
        job = Request(load(), "start_audience_generation_job", {**JOB, "include_seed_in_output": wrong})
        assert "must be true or false" in str(job.violations[0])


def test_str_subclass_becomes_str() -> None:
    assert convert("shared_audience_metrics", [Metric.ALL]) == ["ALL"]
    assert convert("tags", {Metric.ALL: Metric.ALL}) == {"ALL": "ALL"}
    assert convert("name", type("Text", (str,), {})("2026_02")) == "2026_02"
    assert len(find_violations(shared_audience_metrics=[Level.ALL])) == 1


@needs_numpy
def test_numpy_str_becomes_str() -> None:
    assert convert("name", np.str_("2026_02")) == "2026_02"
    assert convert("shared_audience_metrics", [np.str_("ALL")]) == ["ALL"]
    assert "description" not in build_request(description=None).arguments
    for value in (np.bool_(True), np.float64(1.5), np.array(["n"])):
        assert find_violations(name=value)[0].startswith("name: ")


def test_only_integers_become_strings() -> None:
    for value in (1.5, Decimal("1.10"), Decimal(100), Fraction(1, 2), True):
        assert find_violations(tags={"k": value})[0].endswith("must be a string, in quotes")
    assert convert("tags", {"k": Count.LEAST}) == {"k": "25"}


SIZES = {"audienceSizeType": "ABSOLUTE"}


@pytest.mark.parametrize(
    "bins",
    [[10, 20], (10, 20), deque([10, 20]), range(10, 21, 10), array("i", [10, 20]), Lazy(10, "20"), "[10, 20]"],
    ids=lambda bins: type(bins).__name__,
)
def test_sequence_becomes_list(bins: Any) -> None:
    assert convert("audience_size_config", {**SIZES, "audienceSizeBins": bins})["audienceSizeBins"] == [10, 20]


@pytest.mark.parametrize(
    "bins",
    [
        {10, 20},
        (size for size in (10, 20)),
        iter([10, 20]),
        {10: 20}.keys(),
        b"ab",
        bytearray(b"ab"),
        memoryview(b"ab"),
        10,
    ],
    ids=lambda bins: type(bins).__name__,
)
def test_unordered_or_single_use_iterable_is_rejected(bins: Any) -> None:
    (violation,) = find_violations(audience_size_config={**SIZES, "audienceSizeBins": bins})
    assert violation.startswith("audience_size_config.audienceSizeBins: ")
    assert violation.endswith("; must be a list")


@needs_numpy
def test_numpy_array_is_rejected_as_list() -> None:
    for value in (np.array([10, 20]), np.arange(10_000, 10_020).reshape(10, 2)):
        (violation,) = find_violations(audience_size_config={**SIZES, "audienceSizeBins": value})
        assert violation.startswith("audience_size_config.audienceSizeBins: ")
        assert violation.endswith("; must be a list")
        assert "\n" not in violation
    bins = np.array([10, 20])
    for items in (bins.tolist(), list(bins)):
        assert convert("audience_size_config", {**SIZES, "audienceSizeBins": items})["audienceSizeBins"] == [10, 20]


def test_mapping_becomes_dict() -> None:
    for kind in (MappingProxyType, UserDict):
        assert convert("tags", kind({"k": "v"})) == {"k": "v"}
        assert convert("output_config", kind(dict(CONFIGURED["output_config"]))) == CONFIGURED["output_config"]


SECONDS = 1_793_491_200


def test_time_becomes_datetime() -> None:
    class Moment(datetime):
        """A subclass, like those of pendulum and pandas."""

    expected = datetime(2026, 11, 1, tzinfo=UTC)
    for value in (Moment(2026, 11, 1, tzinfo=UTC), Moment(2026, 11, 1), Decimal(SECONDS), Fraction(SECONDS)):
        time = convert_start_time(value)
        assert type(time) is datetime
        assert (time, time.tzinfo) == (expected, UTC)


@needs_numpy
def test_numpy_number_becomes_datetime() -> None:
    for value in (np.int64(SECONDS), np.float64(SECONDS)):
        time = convert_start_time(value)
        assert type(time) is datetime
        assert time == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), math.nan, 10**400], ids=str)
def test_infinite_number_is_rejected_as_time(value: Any) -> None:
    request = Request(load(), "create_audience_model", {"training_data_start_time": value})
    assert any("ISO 8601" in str(violation) for violation in request.violations)


@pytest.mark.parametrize("value", [Decimal(25), "25", Index(), Count.LEAST, Fraction(25)], ids=repr)
def test_emulator_converts_nothing(value: Any) -> None:
    check = RequestCheck(convert=False)
    check.check_value(load().shape_for("MinMatchingSeedSize"), value, "minMatchingSeedSize")
    assert len(check.violations) == (0 if isinstance(value, int) else 1)
