from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import JobFailedError, OutcomeUnknownError, ResourceNotFoundError
from airflow_cleanroomsml.operators import CleanRoomsMLStartTrainedModelExportJobOperator
from tests.helpers.custom_models import Studio, versioned
from tests.support import run

deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])


def build_export(studio: Studio, **more: Any) -> CleanRoomsMLStartTrainedModelExportJobOperator:
    arguments = {
        "task_id": "t",
        **studio.soon,
        "name": "export",
        "trained_model_arn": studio.model,
        "output_configuration": studio.receivers,
        **more,
    }
    return CleanRoomsMLStartTrainedModelExportJobOperator(**arguments)


def list_exports(studio: Studio) -> list[dict[str, Any]]:
    response = studio.ml.list_collaboration_trained_model_export_jobs(
        collaborationIdentifier=studio.collaboration.id, trainedModelArn=studio.model
    )
    return list(response["collaborationTrainedModelExportJobs"])


@deferred_or_not
def test_export_is_found_in_collaboration(studio: Studio, deferrable: bool) -> None:
    task_run = run(build_export(studio, deferrable=deferrable))
    assert task_run.result == {"name": "export", "trained_model_arn": studio.model, "output_location": None}
    (entry,) = list_exports(studio)
    assert (entry["status"], entry["membershipIdentifier"]) == ("ACTIVE", studio.membership)


def test_result_is_same_without_waiting_and_with_reuse(studio: Studio) -> None:
    results = [
        run(build_export(studio, **more)).result
        for more in ({"wait_for_completion": False}, {"if_exists": "reuse"}, {"if_exists": "reuse", "deferrable": True})
    ]
    assert results[0] == results[1] == results[2]
    assert len(list_exports(studio)) == 1


@versioned
def test_first_version_is_accepted(studio: Studio) -> None:
    run(build_export(studio, trained_model_version_identifier="NULL"))
    assert list_exports(studio)[0]["status"] == "ACTIVE"


@pytest.mark.parametrize("fault", ["access_denied", "none"])
def test_collaboration_comes_from_membership_if_model_is_unreadable(studio: Studio, fault: str) -> None:
    _ = studio.model
    if fault != "none":
        studio.world.add_fault("GetTrainedModel", fault)
    run(build_export(studio))
    assert studio.world.calls.count("GetMembership") == (fault != "none")


def test_nothing_is_started_if_collaboration_is_unknown(studio: Studio) -> None:
    arguments = {"membership_identifier": "01234567-89ab-cdef-0123-456789abcdef"}
    with pytest.raises(ResourceNotFoundError):
        run(build_export(studio, **arguments))
    assert "StartTrainedModelExportJob" not in studio.world.calls


@deferred_or_not
def test_failed_export_says_why(studio: Studio, deferrable: bool) -> None:
    studio.world.add_fault("StartTrainedModelExportJob", "fail_job", code="TOO_LARGE", message="more than maxSize")
    with pytest.raises(JobFailedError, match="TOO_LARGE: more than maxSize"):
        run(build_export(studio, deferrable=deferrable))


def test_lost_response_starts_no_second_export(studio: Studio) -> None:
    studio.world.add_fault("StartTrainedModelExportJob", "lose_response")
    with pytest.raises(OutcomeUnknownError):
        run(build_export(studio, durable=False))
    assert run(build_export(studio, if_exists="reuse")).result["name"] == "export"
    assert len(list_exports(studio)) == 1
