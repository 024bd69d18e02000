"""What the service stores and rejects, over real boto3; tests advance the clock instead of waiting."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from botocore import xform_name

from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.helpers.collaboration import collaborate
from tests.support import EmulatorProcess, World

EMPTY_POLICY = '{"Version": "2012-10-17", "Statement": []}'


class SlowWorld(ClockedWorld):
    """An account in which most tests train models."""

    def read_status(self, model: str) -> Any:
        return self.ml.get_audience_model(audienceModelArn=model)["status"]


@pytest.fixture
def slow(clocked_emulator: EmulatorProcess) -> SlowWorld:
    return SlowWorld(clocked_emulator).build()


def train(world: World, name: str, dataset: str) -> str:
    return str(world.ml.create_audience_model(name=name, trainingDatasetArn=dataset)["audienceModelArn"])


def configure(world: World, name: str, model: str, **more: Any) -> str:
    arguments = {
        "name": name,
        "audienceModelArn": model,
        "outputConfig": world.output,
        "sharedAudienceMetrics": ["ALL"],
    }
    return str(world.ml.create_configured_audience_model(**arguments, **more)["configuredAudienceModelArn"])


def start(world: World, name: str, configured: str, **more: Any) -> str:
    arguments = {"name": name, "configuredAudienceModelArn": configured, "seedAudience": world.write_seed(), **more}
    return str(world.ml.start_audience_generation_job(**arguments)["audienceGenerationJobArn"])


def export(world: World, name: str, job: str) -> None:
    size = {"type": "PERCENTAGE", "value": 10}
    world.ml.start_audience_export_job(name=name, audienceGenerationJobArn=job, audienceSize=size)


def list_exports(world: World, job: str) -> Any:
    return world.ml.list_audience_export_jobs(audienceGenerationJobArn=job)["audienceExportJobs"]


LISTINGS = {
    "list_training_datasets": "trainingDatasets",
    "list_audience_models": "audienceModels",
    "list_configured_audience_models": "configuredAudienceModels",
    "list_audience_generation_jobs": "audienceGenerationJobs",
    "list_audience_export_jobs": "audienceExportJobs",
}


def test_pages_list_everything_once_in_order(slow: SlowWorld) -> None:
    names = ["n1", "n2", "n3"]
    models = [slow.train_model(name) for name in names]
    configured = [configure(slow, name, models[0]) for name in names]
    jobs = [start(slow, name, configured[0]) for name in names]
    slow.wait(jobs[-1])
    for name in names:
        export(slow, name, jobs[-1])
    for operation, key in LISTINGS.items():
        for size in (1, 2, 3, 100):
            pages = list(slow.ml.get_paginator(operation).paginate(PaginationConfig={"PageSize": size}))
            assert [entry["name"].removesuffix("-dataset") for page in pages for entry in page[key]] == names
            assert [len(page[key]) for page in pages] == {1: [1, 1, 1], 2: [2, 1]}.get(size, [3])


def test_resource_created_while_paging_appears_last(slow: SlowWorld) -> None:
    for index in range(4):
        slow.create_dataset(f"d{index}")
    first_page = slow.ml.list_training_datasets(maxResults=2)
    slow.create_dataset("d4")
    last_page = slow.ml.list_training_datasets(nextToken=first_page["nextToken"])
    assert [entry["name"] for entry in first_page["trainingDatasets"]] == ["d0", "d1"]
    assert [entry["name"] for entry in last_page["trainingDatasets"]] == ["d2", "d3", "d4"]
    assert "nextToken" not in last_page


def test_listings_apply_filters(slow: SlowWorld) -> None:
    configured, other_configured = (configure(slow, name, slow.train_model(f"of-{name}")) for name in ("c1", "c2"))
    collaboration = {"collaborationId": collaborate(slow).id}
    job, other = start(slow, "j1", configured, **collaboration), start(slow, "j2", other_configured)
    assert [slow.wait(arn)["name"] for arn in (job, other)] == ["j1", "j2"]
    export(slow, "e1", job)

    def list_jobs(**members: Any) -> list[str]:
        entries = slow.ml.list_audience_generation_jobs(**members)["audienceGenerationJobs"]
        return [entry["audienceGenerationJobArn"] for entry in entries]

    assert list_jobs() == [job, other]
    assert list_jobs(configuredAudienceModelArn=other_configured) == [other]
    assert list_jobs(**collaboration) == [job]
    assert list_jobs(**collaboration, configuredAudienceModelArn=other_configured) == []
    assert [entry["name"] for entry in list_exports(slow, job)] == ["e1"]
    assert list_exports(slow, other) == []


def test_names_are_unique_per_account(slow: SlowWorld) -> None:
    dataset, model = slow.create_dataset("n"), slow.train_model("n")
    assert expect_error("ConflictException", slow.create_dataset, name="n")["ResponseMetadata"]["HTTPStatusCode"] == 409
    expect_error("ConflictException", train, world=slow, name="n", dataset=dataset)
    configured = configure(slow, "n", model)
    expect_error("ConflictException", configure, world=slow, name="n", model=model)
    job = start(slow, "n", configured)
    expect_error("ConflictException", start, world=slow, name="n", configured=configured)
    slow.wait(job)
    export(slow, "n", job)
    expect_error("ConflictException", export, world=slow, name="n", job=job)
    World(slow.emulator).create_dataset("n")


def test_name_can_be_reused_after_deletion(slow: SlowWorld) -> None:
    model, dataset = slow.train_model("n"), slow.create_dataset()
    slow.ml.delete_audience_model(audienceModelArn=model)
    expect_error("ConflictException", train, world=slow, name="n", dataset=dataset)
    slow.advance(101)
    assert train(slow, "n", dataset) != model


def test_resource_with_dependents_is_not_deleted(slow: SlowWorld) -> None:
    model = slow.train_model()
    dataset = slow.ml.get_audience_model(audienceModelArn=model)["trainingDatasetArn"]
    configured = configure(slow, "c", model)
    job = start(slow, "j", configured)
    steps = [
        (slow.ml.delete_audience_generation_job, {"audienceGenerationJobArn": job}),
        (slow.ml.delete_configured_audience_model, {"configuredAudienceModelArn": configured}),
        (slow.ml.delete_audience_model, {"audienceModelArn": model}),
        (slow.ml.delete_training_dataset, {"trainingDatasetArn": dataset}),
    ]
    # The job cannot be deleted while it runs, nor the others while they have dependents.
    for delete, members in steps:
        expect_error("ConflictException", delete, **members)
    slow.wait(job)
    for number, (delete, members) in enumerate(steps):
        for delete_later, later_members in steps[number + 1 :]:
            expect_error("ConflictException", delete_later, **later_members)
        delete(**members)
        slow.advance(101)
        expect_error("ResourceNotFoundException", delete, **members)


def test_status_depends_on_clock_not_on_reads(slow: SlowWorld) -> None:
    model = train(slow, "m", slow.create_dataset())
    for status in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        assert {slow.read_status(model) for _ in range(20)} == {status}
        slow.advance(60)
        assert slow.read_status(model) == status
        slow.advance(41)
    assert slow.wait(model)["status"] == "ACTIVE"
    slow.ml.delete_audience_model(audienceModelArn=model)
    for status in ("DELETE_PENDING", "DELETE_IN_PROGRESS"):
        assert {slow.read_status(model) for _ in range(20)} == {status}
        assert [entry["status"] for entry in slow.ml.list_audience_models()["audienceModels"]] == [status]
        slow.advance(51)
    expect_error("ResourceNotFoundException", slow.ml.get_audience_model, audienceModelArn=model)
    assert slow.ml.list_audience_models()["audienceModels"] == []


def test_failure_appears_at_job_end(slow: SlowWorld) -> None:
    slow.client("s3").delete_object(Bucket=slow.bucket, Key="interactions/part-0.csv")
    model = train(slow, "m", slow.create_dataset())
    slow.advance(101)
    time.sleep(0.5)
    assert "statusDetails" not in slow.ml.get_audience_model(audienceModelArn=model)
    failed = slow.wait(model)
    assert failed["status"] == "CREATE_FAILED"
    assert failed["statusDetails"]["statusCode"] == "NO_TRAINING_FILES"
    expect_error("ValidationException", configure, world=slow, name="c", model=model)


def test_update_time_is_time_of_last_status_change(slow: SlowWorld) -> None:
    model = train(slow, "m", slow.create_dataset())
    pending_model = slow.ml.get_audience_model(audienceModelArn=model)
    created, updated = pending_model["createTime"], [pending_model["updateTime"]]
    slow.advance(101)
    updated.append(slow.ml.get_audience_model(audienceModelArn=model)["updateTime"])
    updated.append(slow.wait(model)["updateTime"])
    slow.ml.delete_audience_model(audienceModelArn=model)
    deleting_model = slow.ml.get_audience_model(audienceModelArn=model)
    pending, progress, active = (round((time - created).total_seconds()) for time in updated)
    # It becomes ACTIVE when its time has passed and the computation has finished, whichever is later.
    assert (pending, progress) == (0, 100)
    assert active >= 200
    assert deleting_model["updateTime"] > updated[-1]
    assert deleting_model["createTime"] == created


def test_third_model_in_training_exceeds_quota(slow: SlowWorld) -> None:
    dataset = slow.create_dataset()
    for name in ("m1", "m2"):
        model = train(slow, name, dataset)
    error = expect_error("ServiceQuotaExceededException", train, world=slow, name="m3", dataset=dataset)
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 402
    assert (error["quotaName"], error["quotaValue"]) == ("Pending or in progress audience models", 2)
    slow.wait(model)
    train(slow, "m3", dataset)


def test_eleventh_generation_job_exceeds_quota(slow: SlowWorld) -> None:
    configured, seed = configure(slow, "c", slow.train_model()), slow.write_seed()
    for index in range(10):
        job = start(slow, f"j{index}", configured, seedAudience=seed)
    error = expect_error("ServiceQuotaExceededException", start, world=slow, name="j10", configured=configured)
    assert (error["quotaName"], error["quotaValue"]) == ("Pending or in progress audience generation jobs", 10)
    slow.wait(job)
    start(slow, "j10", configured)


def test_exports_have_quotas_per_account_and_generation_job(slow: SlowWorld) -> None:
    configured = configure(slow, "c", slow.train_model())
    job, other = start(slow, "j", configured), start(slow, "other", configured)
    assert [slow.wait(arn)["status"] for arn in (job, other)] == ["ACTIVE", "ACTIVE"]
    for index in range(20):
        export(slow, f"e{index}", job)
    error = expect_error("ServiceQuotaExceededException", export, world=slow, name="e20", job=other)
    assert (error["quotaName"], error["quotaValue"]) == ("Pending or in progress audience export jobs", 20)
    slow.advance(300)
    while any(entry["status"] != "ACTIVE" for entry in list_exports(slow, job)):
        time.sleep(0.05)
    for index in range(20, 25):
        export(slow, f"e{index}", job)
    error = expect_error("ServiceQuotaExceededException", export, world=slow, name="e25", job=job)
    assert (error["quotaName"], error["quotaValue"]) == ("Active audience export jobs per audience generation job", 25)
    export(slow, "e25", other)


def test_update_applies_to_later_jobs(slow: SlowWorld) -> None:
    sizes = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [10]}
    configured = configure(slow, "c", slow.train_model(), audienceSizeConfig=sizes)
    jobs = [start(slow, "before", configured)]
    update, identifier = slow.ml.update_configured_audience_model, {"configuredAudienceModelArn": configured}
    update(**identifier, audienceSizeConfig={**sizes, "audienceSizeBins": [20]})
    jobs.append(start(slow, "after", configured))
    update(**identifier, minMatchingSeedSize=31)
    failed = slow.wait(start(slow, "last", configured))
    assert failed["statusDetails"]["statusCode"] == "INSUFFICIENT_MATCHING_SEED"
    metrics = [slow.wait(job)["metrics"]["relevanceMetrics"] for job in jobs]
    assert [[entry["audienceSize"]["value"] for entry in entries] for entries in metrics] == [[10], [20]]


def test_another_account_has_no_access(slow: SlowWorld) -> None:
    model = slow.train_model()
    configured = configure(slow, "c", model)
    job = start(slow, "j", configured)
    slow.wait(job)
    export(slow, "e", job)
    dataset = slow.ml.get_audience_model(audienceModelArn=model)["trainingDatasetArn"]
    stranger = SlowWorld(slow.emulator)
    for member, arn in {
        "trainingDatasetArn": dataset,
        "audienceModelArn": model,
        "configuredAudienceModelArn": configured,
        "audienceGenerationJobArn": job,
    }.items():
        for verb in ("get", "delete"):
            call = getattr(stranger.ml, f"{verb}_{xform_name(member.removesuffix('Arn'))}")
            expect_error("ResourceNotFoundException", call, **{member: arn})
        expect_error("ResourceNotFoundException", stranger.ml.list_tags_for_resource, resourceArn=arn)
    for operation, key in LISTINGS.items():
        assert getattr(stranger.ml, operation)()[key] == []
        assert len(getattr(slow.ml, operation)()[key]) == 1
    expect_error("ResourceNotFoundException", train, world=stranger, name="m", dataset=dataset)
    expect_error("ResourceNotFoundException", configure, world=stranger, name="c", model=model)
    expect_error("ResourceNotFoundException", export, world=stranger, name="x", job=job)


def test_tags_are_added_overwritten_and_removed(slow: SlowWorld) -> None:
    arn = slow.create_dataset()
    slow.ml.tag_resource(resourceArn=arn, tags={"a": "1", "b": "1"})
    slow.ml.tag_resource(resourceArn=arn, tags={"b": "2", "c &=%/?+ü": ""})
    assert slow.ml.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "1", "b": "2", "c &=%/?+ü": ""}
    slow.ml.untag_resource(resourceArn=arn, tagKeys=["a", "c &=%/?+ü", "unknown"])
    assert slow.ml.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
    assert slow.ml.get_training_dataset(trainingDatasetArn=arn)["tags"] == {"b": "2"}


def test_request_exceeding_50_tags_adds_none(slow: SlowWorld) -> None:
    arn = slow.create_dataset()
    slow.ml.tag_resource(resourceArn=arn, tags={f"k{index}": "" for index in range(49)})
    expect_error("ValidationException", slow.ml.tag_resource, resourceArn=arn, tags={"k49": "", "k50": ""})
    slow.ml.tag_resource(resourceArn=arn, tags={"k48": "changed", "k49": ""})
    tags = slow.ml.list_tags_for_resource(resourceArn=arn)["tags"]
    assert (len(tags), tags["k48"]) == (50, "changed")


def test_policy_is_put_conditionally_read_and_deleted(slow: SlowWorld) -> None:
    arn = configure(slow, "c", slow.train_model())
    put, identifier = slow.ml.put_configured_audience_model_policy, {"configuredAudienceModelArn": arn}
    text = {**identifier, "configuredAudienceModelPolicy": EMPTY_POLICY}
    expect_error("ResourceNotFoundException", slow.ml.get_configured_audience_model_policy, **identifier)
    expect_error("ValidationException", put, **text, policyExistenceCondition="POLICY_MUST_EXIST")
    expect_error("ValidationException", put, **text, previousPolicyHash="0" * 64)
    expect_error("ValidationException", put, **identifier, configuredAudienceModelPolicy="{}")
    first = put(**text, policyExistenceCondition="POLICY_MUST_NOT_EXIST")
    expect_error("ValidationException", put, **text, policyExistenceCondition="POLICY_MUST_NOT_EXIST")
    second = put(**identifier, configuredAudienceModelPolicy=f"{EMPTY_POLICY} ", previousPolicyHash=first["policyHash"])
    assert second["policyHash"] != first["policyHash"] == hashlib.sha256(EMPTY_POLICY.encode()).hexdigest()
    policy = slow.ml.get_configured_audience_model_policy(**identifier)
    assert (policy["configuredAudienceModelPolicy"], policy["policyHash"]) == (f"{EMPTY_POLICY} ", second["policyHash"])
    slow.ml.delete_configured_audience_model_policy(**identifier)
    expect_error("ResourceNotFoundException", slow.ml.get_configured_audience_model_policy, **identifier)
    expect_error("ResourceNotFoundException", slow.ml.delete_configured_audience_model_policy, **identifier)
