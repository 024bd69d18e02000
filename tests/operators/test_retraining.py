from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_cleanroomsml._compat import AirflowSkipException
from airflow_cleanroomsml.exceptions import InvalidRequestError, ResourceNotFoundError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCheckAudienceModelAgeOperator,
    CleanRoomsMLPromoteAudienceModelOperator,
    CleanRoomsMLPruneAudienceModelsOperator,
)
from tests.support import Run, TaskInstance, World, run

FIRST = datetime(2026, 1, 4, tzinfo=timezone.utc)


def sunday(week: int) -> datetime:
    """The end of a week's data."""
    return FIRST + timedelta(weeks=week)


class Weekly:
    """
    An account whose models are trained on weeks.

    :param world: The account.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.dataset = world.create_dataset()
        self.models: dict[Any, str] = {}

    def train(self, week: int, name: str = "", *, windowed: bool = True, wait: bool = True) -> str:
        """Train the model of a week."""
        window = {"trainingDataEndTime": sunday(week)} if windowed else {}
        made = self.world.ml.create_audience_model(
            name=name or f"weekly-{week}", trainingDatasetArn=self.dataset, **window
        )
        arn = str(made["audienceModelArn"])
        if wait:
            self.world.wait(arn)
        return arn

    def offer(self, model: str, name: str = "terms") -> str:
        """A configured audience model."""
        made = self.world.ml.create_configured_audience_model(
            name=name, audienceModelArn=model, outputConfig=self.world.output, sharedAudienceMetrics=["ALL"]
        )
        return str(made["configuredAudienceModelArn"])

    def in_service(self, terms: str) -> str:
        found = self.world.ml.get_configured_audience_model(configuredAudienceModelArn=terms)
        return str(found["audienceModelArn"])

    @property
    def there(self) -> set[str]:
        """The models that are not being deleted."""
        entries = self.world.ml.list_audience_models()["audienceModels"]
        return {entry["audienceModelArn"] for entry in entries if not entry["status"].startswith("DELETE_")}


@pytest.fixture
def weekly(world: World) -> Weekly:
    """The interactions all lie before the first week, so the model of each week learns from all of them."""
    return Weekly(world)


@contextmanager
def deletions_take(world: World, seconds: float) -> Iterator[None]:
    before = world.emulator.change_settings(delete_seconds=seconds)
    try:
        yield
    finally:
        world.emulator.change_settings(delete_seconds=before["delete_seconds"])


def check(terms: str, end: Any) -> Any:
    operator = CleanRoomsMLCheckAudienceModelAgeOperator(
        task_id="t", configured_audience_model_arn=terms, training_data_end_time=end
    )
    return run(operator)


def promote(terms: str, model: str | None, **more: Any) -> Any:
    operator: Any = CleanRoomsMLPromoteAudienceModelOperator
    return run(operator(task_id="t", configured_audience_model_arn=terms, audience_model_arn=model, **more))


def prune(weekly: Weekly, **more: Any) -> Any:
    given = {"training_dataset_arn": weekly.dataset, "keep": 2, **more}
    return run(CleanRoomsMLPruneAudienceModelsOperator(task_id="t", **given)).result


class StateStore(dict[str, Any]):
    """Airflow's task state store, as far as tasks see it."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class DyingTaskInstance(TaskInstance):
    """A try whose worker dies when it pushes what it has replaced."""

    def xcom_push(self, key: str, value: Any) -> None:
        if key == "replaced":
            raise SystemExit
        super().xcom_push(key, value)


class TestCheck:
    def test_a_model_that_is_older_than_the_data_is_returned(self, weekly: Weekly) -> None:
        model = weekly.train(1)
        assert check(weekly.offer(model), str(sunday(2))).result == model

    @pytest.mark.parametrize("week", [0, 1])
    def test_data_that_a_model_has_seen_are_skipped(self, weekly: Weekly, week: int) -> None:
        terms = weekly.offer(weekly.train(1))
        with pytest.raises(AirflowSkipException, match="Nothing to train: .*up to 2026-01-11 00:00 UTC"):
            check(terms, sunday(week))

    def test_a_model_without_a_window_has_seen_all_up_to_its_creation(self, weekly: Weekly) -> None:
        terms = weekly.offer(weekly.train(1, windowed=False))
        with pytest.raises(AirflowSkipException):
            check(terms, sunday(2))
        check(terms, datetime.now(timezone.utc) + timedelta(days=1))

    def test_arguments_are_refused_before_anything_is_sent(self, world: World) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            check("arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/x", "soon")
        assert [violation.split(":")[0] for violation in caught.value.violations] == [
            "configured_audience_model_arn",
            "training_data_end_time",
        ]
        assert world.calls == []


class TestPromote:
    def test_a_newer_model_replaces_an_older_one(self, weekly: Weekly) -> None:
        older, newer = weekly.train(1), weekly.train(2)
        terms = weekly.offer(older)
        assert promote(terms, newer) == Run(newer, {"replaced": older})
        assert weekly.in_service(terms) == newer
        assert promote(terms, newer) == Run(newer, {"replaced": None})

    @pytest.mark.parametrize("has_store", [True, False], ids=["3.3", "2.11"])
    def test_a_retry_after_the_promotion_says_what_it_replaced_or_that_it_cannot_know(
        self,
        weekly: Weekly,
        has_store: bool,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        older, newer = weekly.train(1), weekly.train(2)
        terms = weekly.offer(older)
        more: Any = {"task_state_store": StateStore()} if has_store else {}
        ti = DyingTaskInstance()
        operator = CleanRoomsMLPromoteAudienceModelOperator(
            task_id="t", configured_audience_model_arn=terms, audience_model_arn=newer
        )
        with pytest.raises(SystemExit):
            run(operator, ti=ti, **more)
        assert (weekly.in_service(terms), ti.pushed) == (newer, {})
        retry = TaskInstance(ti.run_id, ti.try_number + 1)
        assert run(operator, ti=retry, **more) == Run(newer, {"replaced": older if has_store else None})
        assert ("which model it replaced is not known" in caplog.text + capsys.readouterr().out) is not has_store
        # Somebody may clear the task in any order, and then Airflow gives it the same store.
        assert run(operator, ti=retry.make_cleared_try(), **more).pushed == {"replaced": older if has_store else None}

    def test_a_newer_model_stays(self, weekly: Weekly) -> None:
        newer = weekly.train(2)
        terms = weekly.offer(newer)
        # The week counts, not when it was trained.
        assert promote(terms, weekly.train(1)) == Run(newer, {})
        assert weekly.in_service(terms) == newer
        assert "UpdateConfiguredAudienceModel" not in weekly.world.calls

    def test_of_one_week_the_model_that_was_made_later_is_the_newer(self, weekly: Weekly) -> None:
        first, second = weekly.train(1), weekly.train(1, "weekly-1-retry-2")
        terms = weekly.offer(first)
        assert promote(terms, second).result == second
        assert promote(terms, first).result == second

    def test_a_model_that_was_pruned_is_skipped(self, weekly: Weekly) -> None:
        model = weekly.train(1)
        terms = weekly.offer(model)
        with pytest.raises(AirflowSkipException, match="no longer exists"):
            promote(terms, f"{model[:-12]}000000000000")
        assert weekly.in_service(terms) == model

    def test_a_roll_back_replaces_one_model_and_no_other(self, weekly: Weekly) -> None:
        good, bad, next_one = weekly.train(1), weekly.train(2), weekly.train(3)
        terms = weekly.offer(bad)
        assert promote(terms, good, instead_of=bad).result == good
        assert promote(terms, next_one).result == next_one
        assert promote(terms, good, instead_of=bad).result == next_one
        assert weekly.in_service(terms) == next_one

    def test_a_roll_back_to_a_model_that_is_gone_fails(self, weekly: Weekly) -> None:
        bad = weekly.train(2)
        with pytest.raises(ResourceNotFoundError):
            promote(weekly.offer(bad), f"{bad[:-12]}000000000000", instead_of=bad)

    @pytest.mark.parametrize("rendered", ["{{ none }}", None], ids=["text", "None"])
    def test_a_roll_back_that_does_not_say_from_which_model_is_no_ordinary_promotion(
        self, world: World, rendered: str | None
    ) -> None:
        arn = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}"
        operator = CleanRoomsMLPromoteAudienceModelOperator(
            task_id="t",
            configured_audience_model_arn=f"{arn}:configured-audience-model/x",
            audience_model_arn=f"{arn}:audience-model/x",
            instead_of="{{ the output of another task }}",
        )
        # Airflow puts the output in its place: None if that task was skipped, and this one runs all the same.
        vars(operator)["instead_of"] = rendered
        with pytest.raises(InvalidRequestError, match="instead_of: None, although the Dag sets it"):
            run(operator)
        assert world.calls == []

    def test_no_model_is_refused_before_anything_is_sent(self, world: World) -> None:
        with pytest.raises(InvalidRequestError, match="audience_model_arn: missing; required"):
            promote("arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/x", None)
        assert world.calls == []


class TestPrune:
    def test_the_newest_stay_and_the_oldest_go(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        found = prune(weekly)
        assert found == {
            "deleted": [one],
            "kept": dict.fromkeys((two, three), "among the 2 newest"),
            "gone": {},
            "report_only": False,
        }
        assert weekly.there == {two, three}

    def test_the_week_counts_and_not_when_it_was_trained(self, weekly: Weekly) -> None:
        three, two, one = (weekly.train(week) for week in (3, 2, 1))
        assert prune(weekly)["deleted"] == [one]
        assert weekly.there == {two, three}

    def test_the_runs_own_model_need_not_have_the_prefix(self, weekly: Weekly) -> None:
        one, three, own = weekly.train(1), weekly.train(3), weekly.train(2, "own")
        found = prune(weekly, training_dataset_arn=None, name_prefix="weekly-", keep=1, not_newer_than=own)
        assert found["deleted"] == [one]
        assert weekly.there == {three, own}

    def test_nothing_to_prune_is_success(self, weekly: Weekly) -> None:
        assert prune(weekly)["deleted"] == []
        weekly.train(1)
        assert prune(weekly)["deleted"] == []

    def test_what_a_configured_model_uses_stays(self, weekly: Weekly) -> None:
        one, two, three, four = (weekly.train(week) for week in (1, 2, 3, 4))
        weekly.offer(one, "a")
        weekly.offer(one, "b")
        found = prune(weekly)
        assert (found["deleted"], found["kept"][one]) == ([two], "used by 'a', 'b'")
        assert weekly.there == {one, three, four}

    def test_failed_ones_go_and_take_no_place(self, weekly: Weekly) -> None:
        one, two = weekly.train(1), weekly.train(2)
        weekly.world.add_fault("CreateAudienceModel", "fail_job")
        failed = weekly.train(3)
        assert prune(weekly)["deleted"] == [failed]
        assert weekly.there == {one, two}

    def test_what_is_not_older_than_the_runs_own_stays(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        weekly.world.add_fault("CreateAudienceModel", "fail_job")
        failed = weekly.train(4)
        found = prune(weekly, keep=1, not_newer_than=two)
        assert found["deleted"] == [one]
        assert found["kept"] == {
            two: "this run's model",
            three: "newer than this run's model",
            failed: "newer than this run's model",
        }

    def test_nothing_goes_where_the_runs_own_is_gone(self, weekly: Weekly) -> None:
        one, two = weekly.train(1), weekly.train(2)
        found = prune(weekly, keep=1, not_newer_than=f"{one[:-12]}000000000000")
        assert (found["deleted"], set(found["kept"])) == ([], {one, two})
        assert weekly.there == {one, two}

    def test_a_limit_that_another_task_did_not_return_is_no_missing_limit(self, weekly: Weekly) -> None:
        operator = CleanRoomsMLPruneAudienceModelsOperator(
            task_id="t", keep=1, training_dataset_arn=weekly.dataset, not_newer_than="{{ the output of another task }}"
        )
        # Airflow puts the output in its place: None if that task was skipped, and this one runs all the same.
        vars(operator)["not_newer_than"] = None
        before = weekly.there
        with pytest.raises(InvalidRequestError, match="not_newer_than: None, although the Dag sets it"):
            run(operator)
        assert weekly.there == before

    def test_a_prefix_tells_whose_models_go(self, weekly: Weekly) -> None:
        one, two, other = weekly.train(1), weekly.train(2), weekly.train(0, "other")
        found = prune(weekly, training_dataset_arn=None, name_prefix="weekly-", keep=1)
        assert (found["deleted"], set(found["kept"])) == ([one], {two})
        assert weekly.there == {two, other}

    def test_the_models_of_another_dataset_stay(self, weekly: Weekly) -> None:
        other = weekly.world.train_model("weekly-other")
        weekly.train(1)
        assert other not in {**prune(weekly, keep=1, name_prefix="weekly-")["kept"]}
        assert other in weekly.there

    def test_a_report_deletes_nothing(self, weekly: Weekly) -> None:
        one, two = weekly.train(1), weekly.train(2)
        found = prune(weekly, keep="1", report_only="True")
        assert (found["deleted"], found["report_only"]) == ([one], True)
        assert weekly.there == {one, two}

    def test_what_is_being_deleted_is_reported(self, weekly: Weekly) -> None:
        with deletions_take(weekly.world, 1000):
            one, two = weekly.train(1), weekly.train(2)
            weekly.world.ml.delete_audience_model(audienceModelArn=one)
            found = prune(weekly, keep=1)
        assert (found["deleted"], found["gone"]) == ([], {one: "already DELETE_PENDING"})
        assert set(found["kept"]) == {two}

    def test_what_is_put_to_use_meanwhile_is_kept_and_reported(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        weekly.offer(two, "late")
        # The listing of the configured models does not show the newest yet.
        weekly.world.add_fault("ListConfiguredAudienceModels", "stale_listing", seconds=600)
        found = prune(weekly, keep=1)
        assert (found["deleted"], set(found["kept"])) == ([one], {two, three})
        assert "Configured audience models depend" in found["kept"][two]

    def test_what_is_gone_when_it_is_read_is_reported(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        # The first read does not find what was created in the last ten minutes.
        weekly.world.add_fault("GetAudienceModel", "stale_read", seconds=600)
        found = prune(weekly, keep=1)
        reported = "deleted since it was listed"
        assert len(found["gone"]) == 1
        assert set(found["gone"].values()) == {reported}
        assert {*found["deleted"], *found["kept"], *found["gone"]} == {one, two, three}

    @pytest.mark.parametrize(
        ("seconds", "reported"), [(0, "deleted since it was listed"), (1000, "already DELETE_PENDING")]
    )
    def test_a_deletion_whose_answer_was_lost_is_reported(self, weekly: Weekly, seconds: float, reported: str) -> None:
        with deletions_take(weekly.world, seconds):
            one, two = weekly.train(1), weekly.train(2)
            weekly.world.add_fault("DeleteAudienceModel", "lose_response")
            found = prune(weekly, keep=1)
        assert (found["deleted"], found["gone"], set(found["kept"])) == ([], {one: reported}, {two})

    def test_it_reads_each_model_once(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        before = len(weekly.world.calls)
        prune(weekly, not_newer_than=three)
        assert weekly.world.calls[before:] == [
            "ListAudienceModels",
            "ListConfiguredAudienceModels",
            *["GetAudienceModel"] * len({one, two, three}),
            "DeleteAudienceModel",
        ]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"keep": 0}, "keep: 0 is out of range; allowed: 1 to 500"),
            ({"keep": "some"}, "keep: 'some' is a string; must be an integer"),
            ({"report_only": "maybe"}, "report_only: 'maybe' is a string; must be true or false"),
            ({"not_newer_than": "weekly-1"}, "not_newer_than: "),
            ({"not_newer_than": "{{ none }}"}, "not_newer_than: None, although the Dag sets it"),
            ({"name_prefix": "{{ none }}"}, "name_prefix: None, although the Dag sets it"),
            ({"training_dataset_arn": "{{ none }}", "name_prefix": "w"}, "training_dataset_arn: None, although"),
            ({"training_dataset_arn": None}, "training_dataset_arn, name_prefix: both are missing"),
        ],
    )
    def test_arguments_are_refused_before_anything_is_sent(
        self, world: World, given: dict[str, Any], message: str
    ) -> None:
        dataset = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}:training-dataset/x"
        operator: Any = CleanRoomsMLPruneAudienceModelsOperator
        with pytest.raises(InvalidRequestError, match=message):
            run(operator(task_id="t", **{"keep": 1, "training_dataset_arn": dataset, **given}))
        assert world.calls == []
