"""Loads the service models that botocore ships."""

from __future__ import annotations

from functools import cache

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel


# Cached, because loading a model takes about 0.1 s.
@cache
def load(service: str = "cleanroomsml") -> ServiceModel:
    """
    Load the model of a service.

    :param service: boto3's name of the service, ``cleanroomsml`` or ``cleanrooms``.
    """
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def map_operations(model: ServiceModel) -> dict[str, str]:
    """Map boto3's method names to the names of the API operations."""
    return {xform_name(name): name for name in model.operation_names}


def map_arguments(operation: OperationModel) -> dict[str, str]:
    """Map the arguments of an operation in snake_case to the members of its request, in the model's order."""
    shape = operation.input_shape
    return {xform_name(name): name for name in shape.members} if shape is not None else {}
