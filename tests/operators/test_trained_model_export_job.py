from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import JobFailedError, OutcomeUnknownError, ResourceNotFoundError
from airflow_cleanroomsml.operators import CleanRoomsMLStartTrainedModelExportJobOperator
from tests.helpers.custom_models import Studio, versioned
from tests.support import run

deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])


def export(studio: Studio, **more: Any) -> CleanRoomsMLStartTrainedModelExportJobOperator:
    arguments = {
        "task_id": "t",
        **studio.soon,
        "name": "export",
        "trained_model_arn": studio.model,
        "output_configuration": studio.receivers,
        **more,
    }
    return CleanRoomsMLStartTrainedModelExportJobOperator(**arguments)


def listed(studio: Studio) -> list[dict[str, Any]]:
    found = studio.ml.list_collaboration_trained_model_export_jobs(
        collaborationIdentifier=studio.collaboration.id, trainedModelArn=studio.model
    )
    return list(found["collaborationTrainedModelExportJobs"])


@deferred_or_not
def test_it_is_found_in_the_collaborations_listing(studio: Studio, deferrable: bool) -> None:
    done = run(export(studio, deferrable=deferrable))
    assert done.result == {"name": "export", "trained_model_arn": studio.model, "output_location": None}
    (entry,) = listed(studio)
    assert (entry["status"], entry["membershipIdentifier"]) == ("ACTIVE", studio.membership)


def test_the_result_is_the_same_without_waiting_and_when_it_is_reused(studio: Studio) -> None:
    results = [
        run(export(studio, **more)).result
        for more in ({"wait_for_completion": False}, {"if_exists": "reuse"}, {"if_exists": "reuse", "deferrable": True})
    ]
    assert results[0] == results[1] == results[2]
    assert len(listed(studio)) == 1


@versioned
def test_the_version_of_a_first_model_may_be_handed_on_as_it_is(studio: Studio) -> None:
    run(export(studio, trained_model_version_identifier="NULL"))
    assert listed(studio)[0]["status"] == "ACTIVE"


@pytest.mark.parametrize("fault", ["access_denied", "none"])
def test_the_collaboration_comes_from_the_membership_where_the_model_cannot_be_read(studio: Studio, fault: str) -> None:
    _ = studio.model
    if fault != "none":
        studio.world.add_fault("GetTrainedModel", fault)
    run(export(studio))
    assert studio.world.calls.count("GetMembership") == (fault != "none")


def test_nothing_is_started_when_the_collaboration_cannot_be_found(studio: Studio) -> None:
    arguments = {"membership_identifier": "01234567-89ab-cdef-0123-456789abcdef"}
    with pytest.raises(ResourceNotFoundError):
        run(export(studio, **arguments))
    assert "StartTrainedModelExportJob" not in studio.world.calls


@deferred_or_not
def test_a_failed_export_says_why(studio: Studio, deferrable: bool) -> None:
    studio.world.add_fault("StartTrainedModelExportJob", "fail_job", code="TOO_LARGE", message="more than maxSize")
    with pytest.raises(JobFailedError, match="TOO_LARGE: more than maxSize"):
        run(export(studio, deferrable=deferrable))


def test_a_lost_answer_is_looked_for_not_sent_again(studio: Studio) -> None:
    studio.world.add_fault("StartTrainedModelExportJob", "lose_response")
    with pytest.raises(OutcomeUnknownError):
        run(export(studio, durable=False))
    assert run(export(studio, if_exists="reuse")).result["name"] == "export"
    assert len(listed(studio)) == 1
