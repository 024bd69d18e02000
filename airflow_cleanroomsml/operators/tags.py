"""Tags of resources that have an ARN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.typing import AwsKwargs, Templated


class CleanRoomsMLTagResourceOperator(CleanRoomsMLOperator):
    """
    Add tags to a resource; a tag of the same key gets the new value.

    :param resource_arn: ARN of the resource.
    :param tags: Tags; a resource has up to 50.
    """

    operation = "tag_resource"

    def __init__(
        self,
        *,
        resource_arn: Templated[str],
        tags: Templated[Mapping[str, Templated[str]]],
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.resource_arn = resource_arn
        self.tags = tags


class CleanRoomsMLUntagResourceOperator(CleanRoomsMLOperator):
    """
    Remove tags from a resource; tags that it does not have are ignored.

    :param resource_arn: ARN of the resource.
    :param tag_keys: Keys of the tags, up to 200.
    """

    operation = "untag_resource"

    def __init__(
        self,
        *,
        resource_arn: Templated[str],
        tag_keys: Templated[Sequence[Templated[str]]],
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.resource_arn = resource_arn
        self.tag_keys = tag_keys
