"""
Templates in a Dag that renders native objects: what the service model has as a text is rendered as text all the same.

With ``render_template_as_native_obj`` Jinja reads each rendered text as Python, templates or not: the name ``2026_02`` becomes 202602, the
tag ``00`` becomes 0, and the emoji in a structure that was written as JSON two characters that are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_cleanroomsml._requests.sensitive import child_shape

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import BaseOperator, Context


class Members(NamedTuple):
    """
    A structure that is none of the service model, such as the arguments of an operation by their names in snake_case.

    :param members: Shapes of its members.
    """

    members: Mapping[str, Any]
    type_name: str = "structure"


class _Text(NamedTuple):
    type_name: str = "string"


#: The shape of a text that belongs to no request.
TEXT = _Text()
# The text of a time is read by the request check: evaluated, 20261124 would be a number.
_TEXTS = ("string", "timestamp")
_CONTAINERS = ("structure", "list", "map")


def render_by_shape(
    task: BaseOperator, shapes: Mapping[str, Any], context: Context, jinja_env: Any, seen_oids: set[int]
) -> None:
    """
    Render template fields of a task by the service model.

    :param shapes: Shapes of these fields, by their names.
    :param jinja_env: Environment that renders native objects.
    :param seen_oids: Identities of values that were rendered already, or come from another task.
    """
    renderer = _Renderer(task, context, jinja_env, seen_oids)
    for name, shape in shapes.items():
        try:
            setattr(task, name, renderer.field(shape, getattr(task, name)))
        except Exception:
            task.log.exception("Exception rendering Jinja template for task '%s', field '%s'.", task.task_id, name)
            raise


def rendered_by_shape(
    task: BaseOperator, shape: Any, value: Any, context: Context, jinja_env: Any, seen_oids: set[int]
) -> Any:
    """
    A value, rendered by the service model where the Dag renders native objects, else as Airflow renders it.

    :param shape: Its shape; None where there is none.
    """
    if not is_native(jinja_env):
        shape = None
    return _Renderer(task, context, jinja_env, seen_oids).field(shape, value)


def is_native(jinja_env: Any) -> bool:
    """Whether an environment of Jinja's renders native objects."""
    from jinja2.nativetypes import NativeEnvironment

    return isinstance(jinja_env, NativeEnvironment)


class _Renderer:
    def __init__(self, task: BaseOperator, context: Context, jinja_env: Any, seen_oids: set[int]) -> None:
        self._task = task
        self._context = context
        self._env = jinja_env
        self._seen = seen_oids
        self._texts_env: Any = None

    def field(self, shape: Any, value: Any) -> Any:
        if callable(value):
            return value(context=self._context, jinja_env=self._env)
        return self._value(shape, value)

    def _value(self, shape: Any, value: Any) -> Any:
        kind = shape.type_name if shape is not None else ""
        if id(value) in self._seen or kind not in (*_TEXTS, *_CONTAINERS):
            return self._as_the_dag_says(value)
        if isinstance(value, str):
            return self._text(value, as_text=kind in _TEXTS)
        if isinstance(value, dict):
            return {key: self._value(_within(shape, key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(_within(shape, None), item) for item in value]
        return self._as_the_dag_says(value)

    def _as_the_dag_says(self, value: Any) -> Any:
        return self._task.render_template(value, self._context, self._env, self._seen)

    def _text(self, source: str, *, as_text: bool) -> Any:
        """What a template gives: the object that its only expression gives, unless a text is wanted; never a text read as Python."""
        from jinja2 import Undefined

        nodes = self._nodes(source)
        if len(nodes) != 1 or isinstance(nodes[0], (str, Undefined)):
            return "".join(map(str, nodes)) if nodes or as_text else None
        return str(nodes[0]) if as_text and nodes[0] is not None else nodes[0]

    def _nodes(self, source: str) -> list[Any]:
        """The parts of a template, expressions as the objects that they give."""
        if self._texts_env is None:
            self._texts_env = self._env.overlay()
            # What blocks, macros and filters give would be read as Python, too.
            self._texts_env.concat = _joined
        env = self._texts_env
        is_file = source.endswith(tuple(self._task.template_ext))
        template = env.get_template(source) if is_file else env.from_string(source)
        # Airflow's contexts warn where they are copied as dictionaries, which Template.render() does.
        scope: Any = copy(self._context)
        scope.update({name: value for name, value in template.globals.items() if name not in scope})
        return list(template.root_render_func(template.new_context(scope, shared=True)))


def _joined(parts: Iterable[Any]) -> str:
    return "".join(map(str, parts))


def _within(shape: Any, key: str | None) -> Any:
    """The shape below another one; what is written as a container in place of a text, as a policy may be, consists of texts."""
    return shape if shape.type_name in _TEXTS else child_shape(shape, key)
