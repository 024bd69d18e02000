from __future__ import annotations

import pytest

from airflow_cleanroomsml.exceptions import JobFailedError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCancelTrainedModelInferenceJobOperator,
    CleanRoomsMLStartTrainedModelInferenceJobOperator,
)
from tests.helpers.custom_models import Studio
from tests.support import run

deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])


def status(studio: Studio, job: str) -> str:
    found = studio.ml.get_trained_model_inference_job(**studio.of, trainedModelInferenceJobArn=job)
    return str(found["status"])


@deferred_or_not
def test_it_is_waited_for(studio: Studio, deferrable: bool) -> None:
    done = run(CleanRoomsMLStartTrainedModelInferenceJobOperator(**studio.build_inference(deferrable=deferrable)))
    assert status(studio, done.result) == "ACTIVE"
    assert done.pushed["logs_status"] == "PUBLISH_FAILED"


@deferred_or_not
def test_a_failed_one_says_why(studio: Studio, deferrable: bool) -> None:
    arguments = studio.build_inference(deferrable=deferrable)
    studio.world.add_fault(
        "StartTrainedModelInferenceJob", "fail_job", code="ALGORITHM_ERROR", message="no such module"
    )
    with pytest.raises(JobFailedError, match="ALGORITHM_ERROR: no such module"):
        run(CleanRoomsMLStartTrainedModelInferenceJobOperator(**arguments))


@deferred_or_not
def test_it_is_cancelled_and_what_has_ended_is_left_as_it_is(studio: Studio, deferrable: bool) -> None:
    arguments = studio.build_inference(wait_for_completion=False)
    job = run(CleanRoomsMLStartTrainedModelInferenceJobOperator(**arguments)).result
    cancel = CleanRoomsMLCancelTrainedModelInferenceJobOperator(
        task_id="t", **studio.soon, trained_model_inference_job_arn=job, deferrable=deferrable
    )
    for _ in range(2):
        run(cancel)
        assert status(studio, job) in ("INACTIVE", "ACTIVE")


def test_the_two_channels_of_an_inference_are_what_reuse_compares(studio: Studio) -> None:
    arguments = studio.build_inference(if_exists="reuse", environment={"MODE": "batch"})
    first, second = (run(CleanRoomsMLStartTrainedModelInferenceJobOperator(**arguments)).result for _ in range(2))
    assert first == second
