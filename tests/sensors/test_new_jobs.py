"""The sensor for jobs that a partner starts with our configured audience model."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import AccessDeniedError, InvalidRequestError, WaitTimeoutError
from airflow_cleanroomsml.sensors import CleanRoomsMLNewAudienceGenerationJobsSensor
from tests.helpers.offer import Offer
from tests.support import EmulatorProcess, Run, World, run

poke_and_deferred = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])


@pytest.fixture
def offer(world: World, emulator: EmulatorProcess) -> Offer:
    return Offer(world, World(emulator).build())


def sense(deferrable: bool, **more: Any) -> Run:
    arguments = {"task_id": "t", "poke_interval": 0.5, "timeout": 3600, "deferrable": deferrable, **more}
    return run(CleanRoomsMLNewAudienceGenerationJobsSensor(**arguments))


@poke_and_deferred
def test_partner_job_is_found_under_our_arn(offer: Offer, deferrable: bool) -> None:
    begin = datetime.now(timezone.utc) - timedelta(seconds=1)
    offer.start_job(offer.owner, "own")
    partner_arns = [offer.start_job(offer.partner, name) for name in ("first", "second")]
    sensor_run = sense(deferrable, since=begin.isoformat(), configured_audience_model_arn=offer.model)
    jobs = sensor_run.pushed["jobs"]
    assert sensor_run.result == [job["audience_generation_job_arn"] for job in jobs]
    assert not set(sensor_run.result) & set(partner_arns)
    assert [job["started_by"] for job in jobs] == [offer.partner.account] * 2
    assert {
        offer.owner.ml.get_audience_generation_job(audienceGenerationJobArn=arn)["startedBy"]
        for arn in sensor_run.result
    } == {offer.partner.account}


@poke_and_deferred
def test_jobs_are_filtered_by_starter(offer: Offer, deferrable: bool) -> None:
    own = offer.start_job(offer.owner, "own")
    more = {"since": 0x10000000, "collaboration_id": offer.collaboration.id, "started_by": offer.owner.account}
    assert sense(deferrable, **more).result == [own]


@poke_and_deferred
def test_older_jobs_are_ignored_until_the_time_out(offer: Offer, deferrable: bool) -> None:
    offer.start_job(offer.partner, "old")
    # Earlier tests may have advanced the emulator's clock by hours.
    later = datetime.now(timezone.utc) + timedelta(days=365)
    with pytest.raises(
        WaitTimeoutError, match="(?s)No new audience generation job appeared within 1 s.*increase timeout"
    ):
        sense(deferrable, since=later, configured_audience_model_arn=offer.model, timeout=1)


@pytest.mark.parametrize("fault", ["throttle", "garbled"])
@poke_and_deferred
def test_temporary_error_does_not_end_the_wait(offer: Offer, deferrable: bool, fault: str) -> None:
    offer.start_job(offer.partner, "job")
    offer.owner.add_fault("ListAudienceGenerationJobs", fault, times=2)
    no_retries = {"retries": {"total_max_attempts": 1}}
    assert len(sense(deferrable, since=time.time() - 60, botocore_config=no_retries, timeout=3600).result) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [("throttle", "Rate exceeded.*Poll less often.*Request ID"), ("garbled", "probably came from a proxy")],
)
@poke_and_deferred
def test_time_out_reports_that_the_listing_failed(offer: Offer, deferrable: bool, fault: str, message: str) -> None:
    offer.start_job(offer.partner, "job")
    offer.owner.add_fault("ListAudienceGenerationJobs", fault, times=0)
    no_retries = {"retries": {"total_max_attempts": 1}}
    with pytest.raises(WaitTimeoutError, match=f"(?s)No new audience generation job.*The last poll failed.*{message}"):
        sense(deferrable, since=time.time() - 60, botocore_config=no_retries, timeout=2)


@poke_and_deferred
def test_permanent_error_ends_the_wait(offer: Offer, deferrable: bool) -> None:
    offer.owner.add_fault("ListAudienceGenerationJobs", "access_denied", times=1)
    with pytest.raises(AccessDeniedError):
        sense(deferrable, since=time.time())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"since": "yesterday"}, "since: 'yesterday' is not a time"),
        ({"since": 20261124}, "since: 20261124 is not a time"),
        ({"since": "2026-11-24", "configured_audience_model_arn": "mine"}, "configured_audience_model_arn: "),
        ({"since": "2026-11-24", "collaboration_id": "ours"}, "collaboration_id: "),
        (
            {"since": "2026-11-24", "started_by": 12345678901},
            "started_by: '12345678901' has 11 characters; allowed: 12",
        ),
        ({"since": "2026-11-24", "started_by": "a partner's"}, "started_by: "),
    ],
)
@poke_and_deferred
def test_invalid_argument_is_named_before_any_call(
    world: World, arguments: dict[str, Any], message: str, deferrable: bool
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        sense(deferrable, **arguments)
    assert world.calls == []


@poke_and_deferred
def test_rendered_arguments_match_the_listing(offer: Offer, deferrable: bool) -> None:
    own = offer.start_job(offer.owner, "own")
    more = {"collaboration_id": "{{ none }}", "configured_audience_model_arn": "None"}
    assert sense(deferrable, since=0x10000000, started_by=int(offer.owner.account), **more).result == [own]


@pytest.mark.parametrize(
    "bookmark", ["2026-11-24", '{"until": NaN, "reported": {}}', '{"until": 1, "reported": {"a": Infinity}}']
)
def test_malformed_bookmark_is_reported(world: World, bookmark: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"after: '{re.escape(bookmark)}' is not a bookmark"):
        sense(False, since=0x10000000, after=bookmark)
