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


def compute_week_end(week: int) -> datetime:
    """Return the time at which the training data of a week ends."""
    return FIRST + timedelta(weeks=week)


class Weekly:
    """
    An account that trains a model each week.

    :param world: The account.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.dataset = world.create_dataset()
        self.models: dict[Any, str] = {}

    def train(self, week: int, name: str = "", *, windowed: bool = True, wait: bool = True) -> str:
        """Train the model of a week."""
        window = {"trainingDataEndTime": compute_week_end(week)} if windowed else {}
        response = self.world.ml.create_audience_model(
            name=name or f"weekly-{week}", trainingDatasetArn=self.dataset, **window
        )
        arn = str(response["audienceModelArn"])
        if wait:
            self.world.wait(arn)
        return arn

    def create_configured_model(self, model: str, name: str = "configured") -> str:
        """Create a configured audience model, and return its ARN."""
        response = self.world.ml.create_configured_audience_model(
            name=name, audienceModelArn=model, outputConfig=self.world.output, sharedAudienceMetrics=["ALL"]
        )
        return str(response["configuredAudienceModelArn"])

    def read_model_in_use(self, configured: str) -> str:
        response = self.world.ml.get_configured_audience_model(configuredAudienceModelArn=configured)
        return str(response["audienceModelArn"])

    @property
    def remaining_models(self) -> set[str]:
        """The models that exist and are not being deleted."""
        entries = self.world.ml.list_audience_models()["audienceModels"]
        return {entry["audienceModelArn"] for entry in entries if not entry["status"].startswith("DELETE_")}


@pytest.fixture
def weekly(world: World) -> Weekly:
    """An account whose interactions all precede the first week, so that every model is trained on all of them."""
    return Weekly(world)


@contextmanager
def set_deletion_time(world: World, seconds: float) -> Iterator[None]:
    before = world.emulator.change_settings(delete_seconds=seconds)
    try:
        yield
    finally:
        world.emulator.change_settings(delete_seconds=before["delete_seconds"])


def check(configured: str, end: Any) -> Any:
    operator = CleanRoomsMLCheckAudienceModelAgeOperator(
        task_id="t", configured_audience_model_arn=configured, training_data_end_time=end
    )
    return run(operator)


def promote(configured: str, model: str | None, **more: Any) -> Any:
    operator: Any = CleanRoomsMLPromoteAudienceModelOperator
    return run(operator(task_id="t", configured_audience_model_arn=configured, audience_model_arn=model, **more))


def prune(weekly: Weekly, **more: Any) -> Any:
    arguments = {"training_dataset_arn": weekly.dataset, "keep": 2, **more}
    return run(CleanRoomsMLPruneAudienceModelsOperator(task_id="t", **arguments)).result


class StateStore(dict[str, Any]):
    """The part of Airflow's task state store that tasks use."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class DyingTaskInstance(TaskInstance):
    """A try whose worker dies when it pushes the model that it has replaced."""

    def xcom_push(self, key: str, value: Any) -> None:
        if key == "replaced":
            raise SystemExit
        super().xcom_push(key, value)


class TestCheck:
    def test_model_older_than_data_is_returned(self, weekly: Weekly) -> None:
        model = weekly.train(1)
        assert check(weekly.create_configured_model(model), str(compute_week_end(2))).result == model

    @pytest.mark.parametrize("week", [0, 1])
    def test_data_used_for_training_is_skipped(self, weekly: Weekly, week: int) -> None:
        configured = weekly.create_configured_model(weekly.train(1))
        with pytest.raises(AirflowSkipException, match="Nothing to train: .*up to 2026-01-11 00:00 UTC"):
            check(configured, compute_week_end(week))

    def test_model_without_window_used_data_up_to_its_creation(self, weekly: Weekly) -> None:
        configured = weekly.create_configured_model(weekly.train(1, windowed=False))
        with pytest.raises(AirflowSkipException):
            check(configured, compute_week_end(2))
        check(configured, weekly.world.emulator.read_clock() + timedelta(days=1))

    def test_invalid_arguments_are_rejected_before_calls(self, world: World) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            check("arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/x", "soon")
        assert [violation.split(":")[0] for violation in caught.value.violations] == [
            "configured_audience_model_arn",
            "training_data_end_time",
        ]
        assert world.calls == []


class TestPromote:
    def test_newer_model_replaces_older_one(self, weekly: Weekly) -> None:
        older, newer = weekly.train(1), weekly.train(2)
        configured = weekly.create_configured_model(older)
        assert promote(configured, newer) == Run(newer, {"replaced": older})
        assert weekly.read_model_in_use(configured) == newer
        assert promote(configured, newer) == Run(newer, {"replaced": None})

    @pytest.mark.parametrize("has_store", [True, False], ids=["3.3", "2.11"])
    def test_retry_after_promotion_reports_replaced_model_if_known(
        self,
        weekly: Weekly,
        has_store: bool,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        older, newer = weekly.train(1), weekly.train(2)
        configured = weekly.create_configured_model(older)
        more: Any = {"task_state_store": StateStore()} if has_store else {}
        ti = DyingTaskInstance()
        operator = CleanRoomsMLPromoteAudienceModelOperator(
            task_id="t", configured_audience_model_arn=configured, audience_model_arn=newer
        )
        with pytest.raises(SystemExit):
            run(operator, ti=ti, **more)
        assert (weekly.read_model_in_use(configured), ti.pushed) == (newer, {})
        retry = TaskInstance(ti.run_id, ti.try_number + 1)
        assert run(operator, ti=retry, **more) == Run(newer, {"replaced": older if has_store else None})
        assert ("it is unknown which model it replaced" in caplog.text + capsys.readouterr().out) is not has_store
        # The task can be cleared after that, and then Airflow passes it the same store.
        assert run(operator, ti=retry.make_cleared_try(), **more).pushed == {"replaced": older if has_store else None}

    def test_newer_model_is_kept(self, weekly: Weekly) -> None:
        newer = weekly.train(2)
        configured = weekly.create_configured_model(newer)
        # The week counts, not the time of training.
        assert promote(configured, weekly.train(1)) == Run(newer, {})
        assert weekly.read_model_in_use(configured) == newer
        assert "UpdateConfiguredAudienceModel" not in weekly.world.calls

    def test_later_model_of_same_week_counts_as_newer(self, weekly: Weekly) -> None:
        first, second = weekly.train(1), weekly.train(1, "weekly-1-retry-2")
        configured = weekly.create_configured_model(first)
        assert promote(configured, second).result == second
        assert promote(configured, first).result == second

    def test_pruned_model_is_skipped(self, weekly: Weekly) -> None:
        model = weekly.train(1)
        configured = weekly.create_configured_model(model)
        with pytest.raises(AirflowSkipException, match="no longer exists"):
            promote(configured, f"{model[:-12]}000000000000")
        assert weekly.read_model_in_use(configured) == model

    def test_rollback_replaces_only_given_model(self, weekly: Weekly) -> None:
        good, bad, next_one = weekly.train(1), weekly.train(2), weekly.train(3)
        configured = weekly.create_configured_model(bad)
        assert promote(configured, good, instead_of=bad).result == good
        assert promote(configured, next_one).result == next_one
        assert promote(configured, good, instead_of=bad).result == next_one
        assert weekly.read_model_in_use(configured) == next_one

    def test_rollback_to_deleted_model_fails(self, weekly: Weekly) -> None:
        bad = weekly.train(2)
        with pytest.raises(ResourceNotFoundError):
            promote(weekly.create_configured_model(bad), f"{bad[:-12]}000000000000", instead_of=bad)

    @pytest.mark.parametrize("rendered", ["{{ none }}", None], ids=["text", "None"])
    def test_rollback_from_none_is_rejected(self, world: World, rendered: str | None) -> None:
        arn = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}"
        operator = CleanRoomsMLPromoteAudienceModelOperator(
            task_id="t",
            configured_audience_model_arn=f"{arn}:configured-audience-model/x",
            audience_model_arn=f"{arn}:audience-model/x",
            instead_of="{{ the output of another task }}",
        )
        # Airflow replaces the template with the output: None if that task was skipped and this one runs nevertheless.
        vars(operator)["instead_of"] = rendered
        with pytest.raises(InvalidRequestError, match="instead_of: None, although the Dag sets it"):
            run(operator)
        assert world.calls == []

    def test_missing_model_is_rejected_before_calls(self, world: World) -> None:
        with pytest.raises(InvalidRequestError, match="audience_model_arn: missing; required"):
            promote("arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/x", None)
        assert world.calls == []


class TestPrune:
    def test_only_newest_models_are_kept(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        report = prune(weekly)
        assert report == {
            "deleted": [one],
            "kept": dict.fromkeys((two, three), "among the 2 newest"),
            "gone": {},
            "report_only": False,
        }
        assert weekly.remaining_models == {two, three}

    def test_week_counts_and_not_time_of_training(self, weekly: Weekly) -> None:
        three, two, one = (weekly.train(week) for week in (3, 2, 1))
        assert prune(weekly)["deleted"] == [one]
        assert weekly.remaining_models == {two, three}

    def test_model_of_this_run_need_not_have_prefix(self, weekly: Weekly) -> None:
        one, three, current = weekly.train(1), weekly.train(3), weekly.train(2, "own")
        report = prune(weekly, training_dataset_arn=None, name_prefix="weekly-", keep=1, not_newer_than=current)
        assert report["deleted"] == [one]
        assert weekly.remaining_models == {three, current}

    def test_nothing_to_prune_is_success(self, weekly: Weekly) -> None:
        assert prune(weekly)["deleted"] == []
        weekly.train(1)
        assert prune(weekly)["deleted"] == []

    def test_model_in_use_is_kept(self, weekly: Weekly) -> None:
        one, two, three, four = (weekly.train(week) for week in (1, 2, 3, 4))
        weekly.create_configured_model(one, "a")
        weekly.create_configured_model(one, "b")
        report = prune(weekly)
        assert (report["deleted"], report["kept"][one]) == ([two], "used by 'a', 'b'")
        assert weekly.remaining_models == {one, three, four}

    def test_failed_models_are_deleted_not_counted(self, weekly: Weekly) -> None:
        one, two = weekly.train(1), weekly.train(2)
        weekly.world.add_fault("CreateAudienceModel", "fail_job")
        failed = weekly.train(3)
        assert prune(weekly)["deleted"] == [failed]
        assert weekly.remaining_models == {one, two}

    def test_models_not_older_than_this_runs_are_kept(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        weekly.world.add_fault("CreateAudienceModel", "fail_job")
        failed = weekly.train(4)
        report = prune(weekly, keep=1, not_newer_than=two)
        assert report["deleted"] == [one]
        assert report["kept"] == {
            two: "this run's model",
            three: "newer than this run's model",
            failed: "newer than this run's model",
        }

    def test_all_are_kept_if_this_runs_model_is_gone(self, weekly: Weekly) -> None:
        one, two = weekly.train(1), weekly.train(2)
        report = prune(weekly, keep=1, not_newer_than=f"{one[:-12]}000000000000")
        assert (report["deleted"], set(report["kept"])) == ([], {one, two})
        assert weekly.remaining_models == {one, two}

    def test_limit_of_none_is_rejected(self, weekly: Weekly) -> None:
        operator = CleanRoomsMLPruneAudienceModelsOperator(
            task_id="t", keep=1, training_dataset_arn=weekly.dataset, not_newer_than="{{ the output of another task }}"
        )
        # Airflow replaces the template with the output: None if that task was skipped and this one runs nevertheless.
        vars(operator)["not_newer_than"] = None
        before = weekly.remaining_models
        with pytest.raises(InvalidRequestError, match="not_newer_than: None, although the Dag sets it"):
            run(operator)
        assert weekly.remaining_models == before

    def test_prefix_selects_models(self, weekly: Weekly) -> None:
        one, two, other = weekly.train(1), weekly.train(2), weekly.train(0, "other")
        report = prune(weekly, training_dataset_arn=None, name_prefix="weekly-", keep=1)
        assert (report["deleted"], set(report["kept"])) == ([one], {two})
        assert weekly.remaining_models == {two, other}

    def test_models_of_other_dataset_are_kept(self, weekly: Weekly) -> None:
        other = weekly.world.train_model("weekly-other")
        weekly.train(1)
        assert other not in {**prune(weekly, keep=1, name_prefix="weekly-")["kept"]}
        assert other in weekly.remaining_models

    def test_report_deletes_nothing(self, weekly: Weekly) -> None:
        one, two = weekly.train(1), weekly.train(2)
        report = prune(weekly, keep="1", report_only="True")
        assert (report["deleted"], report["report_only"]) == ([one], True)
        assert weekly.remaining_models == {one, two}

    def test_pending_deletion_is_reported(self, weekly: Weekly) -> None:
        with set_deletion_time(weekly.world, 1000):
            one, two = weekly.train(1), weekly.train(2)
            weekly.world.ml.delete_audience_model(audienceModelArn=one)
            report = prune(weekly, keep=1)
        assert (report["deleted"], report["gone"]) == ([], {one: "already DELETE_PENDING"})
        assert set(report["kept"]) == {two}

    def test_model_that_comes_into_use_is_kept_and_reported(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        weekly.create_configured_model(two, "late")
        # The listing of the configured models does not show the newest yet.
        weekly.world.add_fault("ListConfiguredAudienceModels", "stale_listing", seconds=600)
        report = prune(weekly, keep=1)
        assert (report["deleted"], set(report["kept"])) == ([one], {two, three})
        assert "Configured audience models depend" in report["kept"][two]

    def test_model_gone_since_listing_is_reported(self, weekly: Weekly) -> None:
        one, two, three = (weekly.train(week) for week in (1, 2, 3))
        # The first read does not find what was created in the last ten minutes.
        weekly.world.add_fault("GetAudienceModel", "stale_read", seconds=600)
        report = prune(weekly, keep=1)
        reported = "deleted since it was listed"
        assert len(report["gone"]) == 1
        assert set(report["gone"].values()) == {reported}
        assert {*report["deleted"], *report["kept"], *report["gone"]} == {one, two, three}

    @pytest.mark.parametrize(
        ("seconds", "reason"), [(0, "deleted since it was listed"), (1000, "already DELETE_PENDING")]
    )
    def test_deletion_with_lost_response_is_reported(self, weekly: Weekly, seconds: float, reason: str) -> None:
        with set_deletion_time(weekly.world, seconds):
            one, two = weekly.train(1), weekly.train(2)
            weekly.world.add_fault("DeleteAudienceModel", "lose_response")
            report = prune(weekly, keep=1)
        assert (report["deleted"], report["gone"], set(report["kept"])) == ([], {one: reason}, {two})

    def test_each_model_is_read_once(self, weekly: Weekly) -> None:
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
        ("arguments", "message"),
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
    def test_invalid_arguments_are_rejected_before_calls(
        self, world: World, arguments: dict[str, Any], message: str
    ) -> None:
        dataset = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}:training-dataset/x"
        operator: Any = CleanRoomsMLPruneAudienceModelsOperator
        with pytest.raises(InvalidRequestError, match=message):
            run(operator(task_id="t", **{"keep": 1, "training_dataset_arn": dataset, **arguments}))
        assert world.calls == []
