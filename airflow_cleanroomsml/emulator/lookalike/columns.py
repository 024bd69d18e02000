"""Glue types as Arrow types."""

from __future__ import annotations

import pyarrow as pa

_TYPES = {
    "string": pa.string(),
    # Hive's int is narrower, but no value that a wider one can hold is wrong for a model
    "int": pa.int64(),
    "bigint": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us"),
}


def arrow_type(glue_type: str) -> pa.DataType:
    """
    Return the Arrow type in which values of a Glue type are read.

    :param glue_type: A type of ``schema.ALLOWED_TYPES``, ``array<…>`` with its element's; elements of other
        types are read as text.
    """
    name, _, element = glue_type.partition("<")
    if name == "array":
        return pa.list_(_TYPES.get(element.rstrip("> "), pa.string()))
    return _TYPES[name]
