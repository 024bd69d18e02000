"""Templates of arguments that are not to be shown."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_cleanroomsml._requests.request import find_argument_shapes
from airflow_cleanroomsml._requests.sensitive import Hidden, hide, reveal
from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCallOperator,
    CleanRoomsMLCreateMLInputChannelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
)

if TYPE_CHECKING:
    from airflow.sdk import DAG
else:
    try:
        from airflow.sdk import DAG
    except ImportError:  # Airflow 2.11
        from airflow.models.dag import DAG

macros = SimpleNamespace(datetime=datetime)
MARKER = "SELECT marker"


def channel(input_channel: Any) -> CleanRoomsMLCreateMLInputChannelOperator:
    return CleanRoomsMLCreateMLInputChannelOperator(
        task_id="t",
        membership_identifier="m",
        configured_model_algorithm_associations=[],
        input_channel=input_channel,
        name="n",
        retention_in_days=1,
    )


def rendered(task: Any, **context: Any) -> Any:
    task.render_template_fields({"params": {}, **context})
    return task


def source(query: Any) -> dict[str, Any]:
    return {
        "dataSource": {"protectedQueryInputParameters": {"sqlParameters": {"queryString": query}}},
        "roleArn": "role-{{ params.n }}",
    }


def test_only_what_is_not_to_be_shown_is_hidden() -> None:
    task = rendered(channel(source("SELECT {{ params.n }}")), params={"n": 7})
    assert "SELECT 7" not in repr(task.input_channel)
    assert task.input_channel["roleArn"] == "role-7"
    assert task.request["input_channel"]["dataSource"]["protectedQueryInputParameters"]["sqlParameters"] == {
        "queryString": "SELECT 7"
    }


@pytest.mark.parametrize(
    "given",
    [
        MARKER,
        [MARKER],
        {"queryString": MARKER},
        {"dataSource": MARKER},
        {"dataSource": {"protectedQueryInputParameters": [MARKER]}},
        {"dataSource": {"protectedQueryInputParameters": {"sqlParameters": MARKER, "computeConfiguration": None}}},
    ],
)
def test_what_stands_in_a_wrong_place_is_hidden_too(given: Any) -> None:
    task = rendered(channel(given))
    assert "marker" not in repr(task.input_channel)
    assert task.request["input_channel"] == given


def test_an_environment_is_hidden_whole_and_absent_ones_are_not_there() -> None:
    shape = find_argument_shapes("cleanroomsml", "create_trained_model")["environment"]
    assert isinstance(hide(shape, {"A": "b"}), Hidden)
    assert hide(shape, None) is None
    assert hide(shape, hide(shape, {"A": "b"})).value == {"A": "b"}


def test_a_template_that_cannot_be_rendered_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    for query in ("SELECT marker {{ nothing.there }}", "SELECT marker\n{% oops %}"):
        with pytest.raises(CleanRoomsMLError, match="input_channel: its template cannot be rendered: ") as caught:
            rendered(channel(source(query)))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert "marker" not in str(caught.value)
    assert "marker" not in caplog.text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 'p{%marker'", "TemplateSyntaxError: line 1"),
        ("SELECT 1\nWHERE p = 'p{{ 0 marker'", "TemplateSyntaxError: line 2"),
        ("{% include 'marker' %}", "TemplateNotFound"),
        ("{{ {}[params['secret']].there }}", r"UndefinedError: 'dict object' has no attribute \*\*\*"),
        ("{{ [][params['secret']].there }}", "UndefinedError"),
        ("{{ params['secret'] | nosuch }}", "TemplateRuntimeError|TemplateAssertionError"),
        ("{{ nothing.there }}", "UndefinedError: 'nothing' is undefined"),
    ],
)
@pytest.mark.parametrize("native", [False, True])
def test_an_error_of_jinja_quotes_neither_template_nor_value(
    query: str, said: str, native: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A password may contain what Jinja takes for a template, and a template may look up a value that is confidential."""
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        operator = channel(source(query))
    with pytest.raises(CleanRoomsMLError, match=f"input_channel: its template cannot be rendered: ({said})") as caught:
        operator.render_template_fields({"params": {"secret": "marker"}})
    assert "marker" not in str(caught.value)
    assert "marker" not in caplog.text


def test_what_another_task_has_sent_is_data_and_no_template() -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
        mapped = CleanRoomsMLCallOperator.partial(task_id="t", operation="tag_resource").expand(
            parameters=[{"resource_arn": "{{ 1 + 1 }}"}]
        )
    task: Any = mapped.unmap({"parameters": {"resource_arn": "{{ 1 + 1 }}"}})
    given = task.parameters
    # As Airflow renders a mapped task: what was resolved from elsewhere has been seen.
    task._do_render_template_fields(task, ("parameters",), {"params": {}}, task.get_template_env(), {id(given)})
    assert reveal(task.parameters) == {"resource_arn": "{{ 1 + 1 }}"}


class Part:
    """A value with template fields of its own."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def test_a_value_with_template_fields_of_its_own_is_rendered() -> None:
    class Own(CleanRoomsMLCreateTrainedModelOperator):
        template_fields = ("environment", "part")

        def __init__(self, *, part: Part, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.part = part

    task = Own(
        task_id="t",
        part=Part("{{ params.n }}"),
        membership_identifier="m",
        name="n",
        configured_model_algorithm_association_arn="a",
        resource_config={"instanceType": "x", "volumeSizeInGB": 1},
        data_channels=[],
        environment={"PASSWORD": "{{ params.n }}"},
    )
    rendered(task, params={"n": "marker"})
    assert task.part.text == "marker"
    assert reveal(task.environment) == {"PASSWORD": "marker"}
    assert "marker" not in repr(task.environment)


def test_hidden_values_can_be_copied_and_pickled() -> None:
    for again in (copy.deepcopy(Hidden({"a": 1})), pickle.loads(pickle.dumps(Hidden({"a": 1})))):
        assert (again.value, repr(again), str(again)) == ({"a": 1}, "***", "***")


def test_a_value_that_an_error_quotes_is_not_passed_on() -> None:
    template = "{{ macros.datetime.strptime(params.n, '%Y') }}"
    with pytest.raises(CleanRoomsMLError, match="ValueError$"):
        rendered(channel(source(template)), params={"n": "marker"}, macros=macros)


def test_a_callable_is_called() -> None:
    def made(context: Any, jinja_env: Any) -> dict[str, Any]:
        return source(context["params"]["n"])

    task = rendered(channel(made), params={"n": MARKER})
    assert task.request["input_channel"] == source(MARKER)
    assert "marker" not in repr(task.input_channel)
