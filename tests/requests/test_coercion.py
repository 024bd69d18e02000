"""What an XCom or a native template hands over becomes a plain Python value of the type that the model asks for."""

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
from tests.requests.test_validation import CONFIGURED, JOB, broken, configured, window

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
    """An integer of another library, as ``operator.index`` knows it."""

    def __repr__(self) -> str:
        # The name of the test, which has to be the same in every worker.
        return "Index()"

    def __index__(self) -> int:
        return 25


class Lazy(Sequence[Any]):
    """A sequence that reads its items when they are wanted, as Airflow's outputs of mapped tasks do."""

    def __init__(self, *items: Any) -> None:
        self._items = items

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)


def is_plain(value: Any) -> bool:
    """Whether a value consists of Python's own types alone, which JSON has."""
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in (str, int, float, bool)


def sent(name: str, value: Any) -> Any:
    request = configured(**{name: value})
    request.raise_for_violations()
    found = request.arguments[name]
    assert is_plain(found), type(found)
    json.dumps(found)
    return found


def size_of(value: Any) -> Any:
    """A member that is a number of any kind, and its violations."""
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
def test_whatever_is_whole_is_an_integer(value: Any) -> None:
    assert sent("min_matching_seed_size", value) == 25


@needs_numpy
@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "float16", "float32", "float64", "longdouble", "str_"])
def test_whatever_numpy_has_that_is_whole_is_an_integer(kind: str) -> None:
    assert sent("min_matching_seed_size", getattr(np, kind)(25)) == 25
    assert sent("tags", {"year": np.int64(2026)}) == {"year": "2026"}


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
def test_what_is_not_whole_is_no_integer(value: Any) -> None:
    (violation,) = broken(min_matching_seed_size=value)
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
def test_what_numpy_has_that_is_not_whole_is_no_integer(value: Callable[[], Any]) -> None:
    (violation,) = broken(min_matching_seed_size=value())
    assert violation.endswith("; must be an integer")


def test_a_number_of_too_many_digits_is_refused_like_any_other() -> None:
    for value in (10**400, 10**5000, Decimal("1E+5000"), Decimal("1E+999999999"), Fraction(10**400)):
        (violation,) = broken(min_matching_seed_size=value)
        assert violation.startswith("min_matching_seed_size: ")
        assert len(violation) < 200
    assert len(broken(tags={"k": 10**5000})) == 1
    assert len(size_of(10**400)[1]) == 1


def test_numbers_are_numbers_of_any_kind() -> None:
    for value in (3, 3.0, "3", " 3.0 ", Decimal(3), Fraction(3), Three.ALL):
        number, violations = size_of(value)
        assert violations == []
        assert is_plain(number)
        assert number == 3
    assert size_of(Decimal("0.1")) == (0.1, [])
    assert size_of(Fraction(1, 4)) == (0.25, [])


@needs_numpy
def test_numbers_of_numpy_are_numbers() -> None:
    for kind in ("int64", "float16", "float32", "float64"):
        number, violations = size_of(getattr(np, kind)(3))
        assert (number, violations) == (3, [])
        assert is_plain(number)
    for value in (np.bool_(True), np.array([1.5, 2.5]), np.float64("nan")):
        assert size_of(value)[1][0].endswith("; must be a number")


@pytest.mark.parametrize(
    "value",
    [True, "1_000", "nan", "inf", math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), 1j, "٣"],
    ids=repr,
)
def test_what_has_no_digits_of_json_is_no_number(value: Any) -> None:
    (violation,) = size_of(value)[1]
    assert violation.endswith("; must be a number")


@needs_numpy
def test_a_truth_of_numpy_is_a_truth() -> None:
    for value in (np.bool_(False), np.array(True)[()]):
        job = Request(load(), "start_audience_generation_job", {**JOB, "include_seed_in_output": value})
        assert job.violations == []
        assert job.members["includeSeedInOutput"] is bool(value)
    for wrong in (np.int64(1), np.float64(0), np.array([True, False]), np.array([True])):
        job = Request(load(), "start_audience_generation_job", {**JOB, "include_seed_in_output": wrong})
        assert "must be true or false" in str(job.violations[0])


def test_a_text_is_a_plain_text() -> None:
    assert sent("shared_audience_metrics", [Metric.ALL]) == ["ALL"]
    assert sent("tags", {Metric.ALL: Metric.ALL}) == {"ALL": "ALL"}
    assert sent("name", type("Text", (str,), {})("2026_02")) == "2026_02"
    assert len(broken(shared_audience_metrics=[Level.ALL])) == 1


@needs_numpy
def test_a_text_of_numpy_is_a_plain_text() -> None:
    assert sent("name", np.str_("2026_02")) == "2026_02"
    assert sent("shared_audience_metrics", [np.str_("ALL")]) == ["ALL"]
    assert "description" not in configured(description=None).arguments
    for value in (np.bool_(True), np.float64(1.5), np.array(["n"])):
        assert broken(name=value)[0].startswith("name: ")


def test_numbers_that_may_have_lost_something_are_no_texts() -> None:
    for value in (1.5, Decimal("1.10"), Decimal(100), Fraction(1, 2), True):
        assert broken(tags={"k": value})[0].endswith("must be a string, in quotes")
    assert sent("tags", {"k": Count.LEAST}) == {"k": "25"}


SIZES = {"audienceSizeType": "ABSOLUTE"}


@pytest.mark.parametrize(
    "bins",
    [[10, 20], (10, 20), deque([10, 20]), range(10, 21, 10), array("i", [10, 20]), Lazy(10, "20"), "[10, 20]"],
    ids=lambda bins: type(bins).__name__,
)
def test_a_sequence_is_a_list(bins: Any) -> None:
    assert sent("audience_size_config", {**SIZES, "audienceSizeBins": bins})["audienceSizeBins"] == [10, 20]


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
def test_what_has_no_order_or_can_be_read_once_only_is_no_list(bins: Any) -> None:
    (violation,) = broken(audience_size_config={**SIZES, "audienceSizeBins": bins})
    assert violation.startswith("audience_size_config.audienceSizeBins: ")
    assert violation.endswith("; must be a list")


@needs_numpy
def test_an_array_is_to_be_made_a_list() -> None:
    for value in (np.array([10, 20]), np.arange(10_000, 10_020).reshape(10, 2)):
        (violation,) = broken(audience_size_config={**SIZES, "audienceSizeBins": value})
        assert violation.startswith("audience_size_config.audienceSizeBins: ")
        assert violation.endswith("; must be a list")
        assert "\n" not in violation
    bins = np.array([10, 20])
    for items in (bins.tolist(), list(bins)):
        assert sent("audience_size_config", {**SIZES, "audienceSizeBins": items})["audienceSizeBins"] == [10, 20]


def test_a_mapping_is_a_plain_dictionary() -> None:
    for kind in (MappingProxyType, UserDict):
        assert sent("tags", kind({"k": "v"})) == {"k": "v"}
        assert sent("output_config", kind(dict(CONFIGURED["output_config"]))) == CONFIGURED["output_config"]


SECONDS = 1_793_491_200


def test_a_time_is_a_plain_time() -> None:
    class Moment(datetime):
        """As those of pendulum and pandas."""

    expected = datetime(2026, 11, 1, tzinfo=UTC)
    for value in (Moment(2026, 11, 1, tzinfo=UTC), Moment(2026, 11, 1), Decimal(SECONDS), Fraction(SECONDS)):
        found = window(value)
        assert type(found) is datetime
        assert (found, found.tzinfo) == (expected, UTC)


@needs_numpy
def test_a_time_of_numpy_is_a_plain_time() -> None:
    for value in (np.int64(SECONDS), np.float64(SECONDS)):
        found = window(value)
        assert type(found) is datetime
        assert found == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), math.nan, 10**400], ids=str)
def test_what_is_no_number_is_no_time(value: Any) -> None:
    request = Request(load(), "create_audience_model", {"training_data_start_time": value})
    assert any("ISO 8601" in str(violation) for violation in request.violations)


@pytest.mark.parametrize("value", [Decimal(25), "25", Index(), Count.LEAST, Fraction(25)], ids=repr)
def test_the_emulator_converts_nothing_of_this(value: Any) -> None:
    check = RequestCheck(convert=False)
    check.check_value(load().shape_for("MinMatchingSeedSize"), value, "minMatchingSeedSize")
    assert len(check.violations) == (0 if isinstance(value, int) else 1)
