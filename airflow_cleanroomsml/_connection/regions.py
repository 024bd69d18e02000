"""Checks regions by the partitions that the installed botocore knows."""

from __future__ import annotations

import logging
import re
from functools import cache

import botocore
from botocore.loaders import Loader

from airflow_cleanroomsml._requests.arns import REGION_ENDING
from airflow_cleanroomsml._requests.violations import suggest_name
from airflow_cleanroomsml.exceptions import ConfigurationError, join_lines

log = logging.getLogger(__name__)

_ENDING = re.compile(rf"{REGION_ENDING}\Z")


def require_region(region: str | None, source: str) -> None:
    """
    Reject a region that cannot exist; warn of one that the installed botocore does not know.

    :param source: Name of the argument, entry or variable that contains it.
    :raises ConfigurationError: It is missing, or does not have the form of a region in any partition that the installed botocore knows.
    """
    if not region:
        raise ConfigurationError(
            join_lines(
                "region_name: no region is configured. Nothing was sent.",
                "Set region_name in the task or in the extra of its connection, or AWS_DEFAULT_REGION.",
            )
        )
    patterns, regions = _load_partitions()
    # Pseudo-regions of FIPS endpoints, which botocore still accepts.
    plain = region.removeprefix("fips-").removesuffix("-fips")
    if plain in regions:
        return
    hint = suggest_name(region, regions, most=2)
    unknown = f"of any partition that botocore {botocore.__version__} knows"
    # The patterns leave the words open, and would take "us-est-1" for a region.
    if not (_ENDING.search(plain) and any(pattern.fullmatch(plain) for pattern in patterns)):
        raise ConfigurationError(
            join_lines(f"{source}: {region!r} is not an AWS region{hint or f' {unknown}'}.", "Nothing was sent.")
        )
    log.warning("%s: %r is not an AWS region %s%s; using it, because it may be newer.", source, region, unknown, hint)


@cache
def _load_partitions() -> tuple[list[re.Pattern[str]], frozenset[str]]:
    """Load the patterns of all partitions' regions, and the names of the existing regions."""
    # The patterns also match regions that are newer than the installed botocore; its list of regions would reject them.
    partitions = Loader().load_data("partitions")["partitions"]
    return (
        [re.compile(partition["regionRegex"], re.ASCII) for partition in partitions],
        frozenset(
            region for partition in partitions for region in partition["regions"] if not region.endswith("-global")
        ),
    )
