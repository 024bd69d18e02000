from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from airflow_cleanroomsml import exceptions
from airflow_cleanroomsml._compat import AirflowFailException
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, service_error

CLASSES = [
    value for value in vars(exceptions).values() if inspect.isclass(value) and issubclass(value, CleanRoomsMLError)
]


def build_response(code: str, status: int = 400, message: str = "no", **members: Any) -> dict[str, Any]:
    return {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r-1"},
        **members,
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_docstring_marks_errors_without_retry(kind: type[CleanRoomsMLError]) -> None:
    (line,) = [line for line in exceptions.__doc__.splitlines() if f" {kind.__name__} " in f"{line} "]
    assert issubclass(kind, AirflowFailException) == (f"{kind.__name__} *" in line)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_can_be_pickled(kind: type[CleanRoomsMLError]) -> None:
    error = kind("what happened")
    vars(error).update(note={"kept": 1})
    unpickled = pickle.loads(pickle.dumps(error))
    assert (type(unpickled), str(unpickled), vars(unpickled)) == (kind, "what happened", vars(error))


@pytest.mark.parametrize(
    ("operation", "code", "status", "members", "kind", "advice"),
    [
        ("CreateAudienceModel", "ConflictException", 409, {}, "AlreadyExistsError", 'if_exists="reuse"'),
        (
            "DeleteAudienceModel",
            "ConflictException",
            409,
            {},
            "ConflictError",
            "Delete the resources that depend on it first",
        ),
        ("CreateAudienceModel", "ValidationException", 400, {}, "ValidationError", "Correct the argument"),
        ("CreateAudienceModel", "AccessDeniedException", 403, {}, "AccessDeniedError", "caller has permission"),
        ("GetAudienceModel", "ResourceNotFoundException", 404, {}, "ResourceNotFoundError", "Check the ARN"),
        (
            "CreateAudienceModel",
            "ServiceQuotaExceededException",
            402,
            {"quotaName": "models", "quotaValue": 2.0},
            "QuotaExceededError",
            "quotaName: models, quotaValue: 2",
        ),
        (
            "CreateAudienceModel",
            "ServiceQuotaExceededException",
            402,
            {"quotaName": "models", "quotaValue": 0.0},
            "NoQuotaError",
            "servicequotas",
        ),
        ("GetAudienceModel", "ThrottlingException", 429, {}, "ThrottledError", "poke_interval"),
        ("ListAudienceModels", "TooManyRequestsException", 429, {}, "ThrottledError", "poke_interval"),
        ("CreateAudienceModel", "ThrottlingException", 429, {}, "ThrottledError", "Start fewer jobs at once"),
        ("StartAudienceExportJob", "ThrottlingException", 429, {}, "ThrottledError", "Start fewer jobs at once"),
        ("CreateTrainingDataset", "ThrottlingException", 429, {}, "ThrottledError", "Run fewer of these tasks"),
        ("DeleteAudienceModel", "ThrottlingException", 429, {}, "ThrottledError", "Run fewer of these tasks"),
        ("GetTable", "ThrottlingException", 400, {}, "ThrottledError", "Other callers in the account"),
        ("GetAudienceModel", "InternalServiceException", 500, {}, "UnavailableError", "a retry may succeed"),
        ("GetAudienceModel", "UnrecognizedClientException", 403, {}, "ServiceError", "Renew the credentials"),
        ("GetAudienceModel", "InvalidSignatureException", 403, {}, "ServiceError", "Check that region_name matches"),
    ],
)
def test_response_maps_to_exception(
    operation: str, code: str, status: int, members: dict[str, Any], kind: str, advice: str
) -> None:
    error = service_error(operation, build_response(code, status, "the service's own words", **members))
    assert type(error).__name__ == kind
    assert "the service's own words" in str(error)
    assert advice in str(error)
    assert "r-1" in str(error)
    assert (error.operation, error.code, error.details) == (operation, code, members)


def test_every_member_of_response_is_redacted() -> None:
    response = {
        "Error": {"Code": "ValidationException", "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
        "fieldList": [{"name": "queryString", "message": "cannot parse SECRET"}],
    }
    error = service_error("CreateMLInputChannel", response, lambda text: text.replace("SECRET", "***"))
    assert "SECRET" not in f"{error} {error.details}"
    assert "\n  fieldList: queryString (cannot parse ***)\n" in str(error)
