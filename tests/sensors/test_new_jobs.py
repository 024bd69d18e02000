"""Jobs that a partner starts in one's own model."""

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

deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])


@pytest.fixture
def offer(world: World, emulator: EmulatorProcess) -> Offer:
    return Offer(world, World(emulator).build())


def sense(deferrable: bool, **more: Any) -> Run:
    arguments = {"task_id": "t", "poke_interval": 0.5, "timeout": 3600, "deferrable": deferrable, **more}
    return run(CleanRoomsMLNewAudienceGenerationJobsSensor(**arguments))


@deferred_or_not
def test_a_partners_job_is_found_under_ones_own_arn(offer: Offer, deferrable: bool) -> None:
    begin = datetime.now(timezone.utc) - timedelta(seconds=1)
    offer.start_job(offer.owner, "own")
    theirs = [offer.start_job(offer.partner, name) for name in ("first", "second")]
    done = sense(deferrable, since=begin.isoformat(), configured_audience_model_arn=offer.model)
    jobs = done.pushed["jobs"]
    assert done.result == [job["audience_generation_job_arn"] for job in jobs]
    assert not set(done.result) & set(theirs)
    assert [job["started_by"] for job in jobs] == [offer.partner.account] * 2
    assert {
        offer.owner.ml.get_audience_generation_job(audienceGenerationJobArn=arn)["startedBy"] for arn in done.result
    } == {offer.partner.account}


@deferred_or_not
def test_who_started_it_may_be_said(offer: Offer, deferrable: bool) -> None:
    own = offer.start_job(offer.owner, "own")
    more = {"since": 0x10000000, "collaboration_id": offer.collaboration.id, "started_by": offer.owner.account}
    assert sense(deferrable, **more).result == [own]


@deferred_or_not
def test_older_jobs_do_not_count_and_the_sensor_times_out(offer: Offer, deferrable: bool) -> None:
    offer.start_job(offer.partner, "old")
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    with pytest.raises(
        WaitTimeoutError, match="(?s)No new audience generation job appeared within 1 s.*increase timeout"
    ):
        sense(deferrable, since=later, configured_audience_model_arn=offer.model, timeout=1)


@pytest.mark.parametrize("fault", ["throttle", "garbled"])
@deferred_or_not
def test_a_temporary_error_does_not_end_the_wait(offer: Offer, deferrable: bool, fault: str) -> None:
    offer.start_job(offer.partner, "job")
    offer.owner.add_fault("ListAudienceGenerationJobs", fault, times=2)
    once = {"retries": {"total_max_attempts": 1}}
    assert len(sense(deferrable, since=time.time() - 60, botocore_config=once, timeout=3600).result) == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [("throttle", "Rate exceeded.*Poll less often.*Request ID"), ("garbled", "probably came from a proxy")],
)
@deferred_or_not
def test_a_time_out_tells_that_the_listing_could_not_be_read(
    offer: Offer, deferrable: bool, fault: str, told: str
) -> None:
    offer.start_job(offer.partner, "job")
    offer.owner.add_fault("ListAudienceGenerationJobs", fault, times=0)
    once = {"retries": {"total_max_attempts": 1}}
    with pytest.raises(WaitTimeoutError, match=f"(?s)No new audience generation job.*The last poll failed.*{told}"):
        sense(deferrable, since=time.time() - 60, botocore_config=once, timeout=2)


@deferred_or_not
def test_what_does_not_pass_ends_the_wait(offer: Offer, deferrable: bool) -> None:
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
@deferred_or_not
def test_bad_arguments_are_named_before_the_first_look(
    world: World, arguments: dict[str, Any], message: str, deferrable: bool
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        sense(deferrable, **arguments)
    assert world.calls == []


@deferred_or_not
def test_what_a_template_renders_to_is_what_the_listing_says(offer: Offer, deferrable: bool) -> None:
    own = offer.start_job(offer.owner, "own")
    more = {"collaboration_id": "{{ none }}", "configured_audience_model_arn": "None"}
    assert sense(deferrable, since=0x10000000, started_by=int(offer.owner.account), **more).result == [own]


@pytest.mark.parametrize(
    "bookmark", ["2026-11-24", '{"until": NaN, "reported": {}}', '{"until": 1, "reported": {"a": Infinity}}']
)
def test_a_malformed_bookmark_is_named(world: World, bookmark: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"after: '{re.escape(bookmark)}' is not a bookmark"):
        sense(False, since=0x10000000, after=bookmark)
