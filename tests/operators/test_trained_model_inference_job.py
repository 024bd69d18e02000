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


def read_status(studio: Studio, arn: str) -> str:
    response = studio.ml.get_trained_model_inference_job(**studio.of, trainedModelInferenceJobArn=arn)
    return str(response["status"])


@deferred_or_not
def test_start_waits(studio: Studio, deferrable: bool) -> None:
    task_run = run(CleanRoomsMLStartTrainedModelInferenceJobOperator(**studio.build_inference(deferrable=deferrable)))
    assert read_status(studio, task_run.result) == "ACTIVE"
    assert task_run.pushed["logs_status"] == "PUBLISH_FAILED"


@deferred_or_not
def test_failed_job_says_why(studio: Studio, deferrable: bool) -> None:
    arguments = studio.build_inference(deferrable=deferrable)
    studio.world.add_fault(
        "StartTrainedModelInferenceJob", "fail_job", code="ALGORITHM_ERROR", message="no such module"
    )
    with pytest.raises(JobFailedError, match="ALGORITHM_ERROR: no such module"):
        run(CleanRoomsMLStartTrainedModelInferenceJobOperator(**arguments))


@deferred_or_not
def test_cancel_accepts_job_that_has_ended(studio: Studio, deferrable: bool) -> None:
    arguments = studio.build_inference(wait_for_completion=False)
    job = run(CleanRoomsMLStartTrainedModelInferenceJobOperator(**arguments)).result
    cancel = CleanRoomsMLCancelTrainedModelInferenceJobOperator(
        task_id="t", **studio.soon, trained_model_inference_job_arn=job, deferrable=deferrable
    )
    for _ in range(2):
        run(cancel)
        assert read_status(studio, job) in ("INACTIVE", "ACTIVE")


def test_job_is_reused_if_it_matches_request(studio: Studio) -> None:
    arguments = studio.build_inference(if_exists="reuse", environment={"MODE": "batch"})
    first, second = (run(CleanRoomsMLStartTrainedModelInferenceJobOperator(**arguments)).result for _ in range(2))
    assert first == second
