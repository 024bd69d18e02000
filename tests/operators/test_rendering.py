"""Templates of confidential arguments."""

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


def build_channel_task(input_channel: Any) -> CleanRoomsMLCreateMLInputChannelOperator:
    return CleanRoomsMLCreateMLInputChannelOperator(
        task_id="t",
        membership_identifier="m",
        configured_model_algorithm_associations=[],
        input_channel=input_channel,
        name="n",
        retention_in_days=1,
    )


def render(task: Any, **context: Any) -> Any:
    task.render_template_fields({"params": {}, **context})
    return task


def build_input_channel(query: Any) -> dict[str, Any]:
    return {
        "dataSource": {"protectedQueryInputParameters": {"sqlParameters": {"queryString": query}}},
        "roleArn": "role-{{ params.n }}",
    }


def test_only_confidential_members_are_hidden() -> None:
    task = render(build_channel_task(build_input_channel("SELECT {{ params.n }}")), params={"n": 7})
    assert "SELECT 7" not in repr(task.input_channel)
    assert task.input_channel["roleArn"] == "role-7"
    assert task.request["input_channel"]["dataSource"]["protectedQueryInputParameters"]["sqlParameters"] == {
        "queryString": "SELECT 7"
    }


@pytest.mark.parametrize(
    "input_channel",
    [
        MARKER,
        [MARKER],
        {"queryString": MARKER},
        {"dataSource": MARKER},
        {"dataSource": {"protectedQueryInputParameters": [MARKER]}},
        {"dataSource": {"protectedQueryInputParameters": {"sqlParameters": MARKER, "computeConfiguration": None}}},
    ],
)
def test_misplaced_query_is_hidden(input_channel: Any) -> None:
    task = render(build_channel_task(input_channel))
    assert "marker" not in repr(task.input_channel)
    assert task.request["input_channel"] == input_channel


def test_environment_is_hidden_as_a_whole() -> None:
    shape = find_argument_shapes("cleanroomsml", "create_trained_model")["environment"]
    assert isinstance(hide(shape, {"A": "b"}), Hidden)
    assert hide(shape, None) is None
    assert hide(shape, hide(shape, {"A": "b"})).value == {"A": "b"}


def test_invalid_template_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    for query in ("SELECT marker {{ nothing.there }}", "SELECT marker\n{% oops %}"):
        with pytest.raises(CleanRoomsMLError, match="input_channel: its template cannot be rendered: ") as caught:
            render(build_channel_task(build_input_channel(query)))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert "marker" not in str(caught.value)
    assert "marker" not in caplog.text


@pytest.mark.parametrize(
    ("query", "error"),
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
def test_jinja_error_quotes_neither_template_nor_value(
    query: str, error: str, native: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A password can contain template syntax, and a template can look up a confidential value."""
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        operator = build_channel_task(build_input_channel(query))
    with pytest.raises(CleanRoomsMLError, match=f"input_channel: its template cannot be rendered: ({error})") as caught:
        operator.render_template_fields({"params": {"secret": "marker"}})
    assert "marker" not in str(caught.value)
    assert "marker" not in caplog.text


def test_mapped_value_is_not_rendered() -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
        mapped = CleanRoomsMLCallOperator.partial(task_id="t", operation="tag_resource").expand(
            parameters=[{"resource_arn": "{{ 1 + 1 }}"}]
        )
    task: Any = mapped.unmap({"parameters": {"resource_arn": "{{ 1 + 1 }}"}})
    parameters = task.parameters
    # Airflow renders a mapped task like this: it marks the mapped values as seen so that they are not rendered.
    task._do_render_template_fields(task, ("parameters",), {"params": {}}, task.get_template_env(), {id(parameters)})
    assert reveal(task.parameters) == {"resource_arn": "{{ 1 + 1 }}"}


class Part:
    """A value with template fields."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def test_value_with_template_fields_is_rendered() -> None:
    class TrainingOperator(CleanRoomsMLCreateTrainedModelOperator):
        template_fields = ("environment", "part")

        def __init__(self, *, part: Part, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.part = part

    task = TrainingOperator(
        task_id="t",
        part=Part("{{ params.n }}"),
        membership_identifier="m",
        name="n",
        configured_model_algorithm_association_arn="a",
        resource_config={"instanceType": "x", "volumeSizeInGB": 1},
        data_channels=[],
        environment={"PASSWORD": "{{ params.n }}"},
    )
    render(task, params={"n": "marker"})
    assert task.part.text == "marker"
    assert reveal(task.environment) == {"PASSWORD": "marker"}
    assert "marker" not in repr(task.environment)


def test_hidden_values_can_be_copied_and_pickled() -> None:
    for duplicate in (copy.deepcopy(Hidden({"a": 1})), pickle.loads(pickle.dumps(Hidden({"a": 1})))):
        assert (duplicate.value, repr(duplicate), str(duplicate)) == ({"a": 1}, "***", "***")


def test_error_that_quotes_value_is_withheld() -> None:
    template = "{{ macros.datetime.strptime(params.n, '%Y') }}"
    with pytest.raises(CleanRoomsMLError, match="ValueError$"):
        render(build_channel_task(build_input_channel(template)), params={"n": "marker"}, macros=macros)


def test_callable_is_called() -> None:
    def build(context: Any, jinja_env: Any) -> dict[str, Any]:
        return build_input_channel(context["params"]["n"])

    task = render(build_channel_task(build), params={"n": MARKER})
    assert task.request["input_channel"] == build_input_channel(MARKER)
    assert "marker" not in repr(task.input_channel)
