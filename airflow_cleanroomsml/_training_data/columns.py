"""Maps Glue types to Arrow types."""

from __future__ import annotations

import pyarrow as pa

_TYPES = {
    "string": pa.string(),
    # Hive's int has 32 bits, but a larger value in a file does no harm to a model.
    "int": pa.int64(),
    "bigint": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us"),
}


def to_arrow_type(glue_type: str) -> pa.DataType:
    """
    Return the Arrow type for values of a Glue type.

    :param glue_type: A type of ``schema.ALLOWED_TYPES``; ``array<…>`` with its element type, text if that is none of these.
    """
    name, _, element = glue_type.partition("<")
    if name == "array":
        # An unknown element type is read as text, because the elements are only compared with each other.
        return pa.list_(_TYPES.get(element.rstrip("> "), pa.string()))
    return _TYPES[name]
