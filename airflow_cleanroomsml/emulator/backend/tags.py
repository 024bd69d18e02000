"""Tags."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import validation_error
from airflow_cleanroomsml.emulator.store import Caller


class Tags(BackendBase):
    """Operations on the tags of resources with an ARN."""

    def tag_resource(self, caller: Caller, *, resource_arn: str, tags: dict[str, str]) -> dict[str, Any]:
        """TagResource."""
        record = self.store.get(resource_arn, "Resource", caller)
        # The model allows 200 tags, its documentation 50 per resource.
        if len({**record.tags, **tags}) > 50:
            raise validation_error(f"A resource can have at most 50 tags, not {len({**record.tags, **tags})}.")
        record.tags.update(tags)
        return {}

    def untag_resource(self, caller: Caller, *, resource_arn: str, tag_keys: list[str]) -> dict[str, Any]:
        """UntagResource."""
        record = self.store.get(resource_arn, "Resource", caller)
        for key in tag_keys:
            record.tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, caller: Caller, *, resource_arn: str) -> dict[str, Any]:
        """ListTagsForResource."""
        return {"tags": self.store.get(resource_arn, "Resource", caller).tags}


class CleanRoomsTags(Tags):
    """The same operations of the service ``cleanrooms``."""

    service = "cleanrooms"
