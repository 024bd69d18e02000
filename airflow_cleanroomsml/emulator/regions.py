"""Regions and their partitions, from the data that botocore ships."""

from __future__ import annotations

from functools import cache

from botocore.loaders import Loader

from airflow_cleanroomsml.emulator.errors import ApiError


# Not from boto3.Session.get_available_regions(): it is empty for cleanroomsml, which endpoints.json does not list (botocore 1.43.117).
@cache
def _load_partitions() -> dict[str, str]:
    """Return the partition of each region, without pseudo-regions such as ``aws-global``, which no request is signed for."""
    return {
        region: partition["id"]
        for partition in Loader().load_data("partitions")["partitions"]
        for region in partition["regions"]
        if not region.endswith("-global")
    }


def get_partition(region: str) -> str:
    """Return the partition of a region, for instance ``aws-us-gov``; empty for a region that AWS does not have."""
    return _load_partitions().get(region, "")


def require_region(region: str) -> None:
    """
    Reject a region that AWS does not have.

    :raises ApiError: The error of AWS for a signature with another region than the endpoint's.
    """
    if not get_partition(region):
        text = f"Credential should be scoped to a valid region, not '{region}'."
        raise ApiError("InvalidSignatureException", text, status=403)
