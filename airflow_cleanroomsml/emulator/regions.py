"""Regions and their partitions, from the data that botocore ships."""

from __future__ import annotations

from functools import cache

from botocore.loaders import Loader

from airflow_cleanroomsml.emulator.errors import ApiError


@cache
def _partitions() -> dict[str, str]:
    """The partition of each region; no request is signed for what the data calls global."""
    return {
        region: partition["id"]
        for partition in Loader().load_data("partitions")["partitions"]
        for region in partition["regions"]
        if not region.endswith("-global")
    }


def partition(region: str) -> str:
    """The partition of a region, for instance ``aws-us-gov``; empty where AWS has no such region."""
    return _partitions().get(region, "")


def require_region(region: str) -> None:
    """
    Refuse what is no region.

    :raises ApiError: As services of AWS answer a signature for another region than theirs.
    """
    if not partition(region):
        text = f"Credential should be scoped to a valid region, not '{region}'. AWS has no region of that name."
        raise ApiError("InvalidSignatureException", text, status=403)
