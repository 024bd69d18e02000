"""
Render what the service model declares as text to text, even in a Dag that renders native objects.

With ``render_template_as_native_obj`` Jinja evaluates each rendered text as Python, even a text without templates: the name ``2026_02``
becomes 202602, the tag ``00`` becomes 0, and an emoji that was escaped in JSON becomes two surrogates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_cleanroomsml._requests.sensitive import find_child_shape

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import BaseOperator, Context


class Members(NamedTuple):
    """
    A structure that the service model does not have, such as the arguments of an operation by their names in snake_case.

    :param members: Shapes of its members.
    """

    members: Mapping[str, Any]
    type_name: str = "structure"


class _Text(NamedTuple):
    type_name: str = "string"


#: Shape of a text outside of requests.
TEXT = _Text()
#: What an argument is that was not set, or is pulled from an XCom that does not exist: None, or None rendered to text.
RENDERED_NONE = (None, "None")
# A time stays a text, as the request check parses it: evaluated, 20261124 would be a number.
_TEXTS = ("string", "timestamp")
_CONTAINERS = ("structure", "list", "map")
#: Messages of Jinja about a variable, whose name the template has, or about an attribute or item.
#: Compiled when it is used: a Dag file that is parsed does not need it.
_UNDEFINED = r"(?P<variable>'\w+' is undefined)|(?P<attribute>'[\w. ]+ object' has no (?:attribute|element)) .*"


def render_by_shape(
    task: BaseOperator,
    names: list[str],
    load_shapes: Callable[[], Mapping[str, Any]],
    context: Context,
    jinja_env: Any,
    seen_oids: set[int],
) -> list[str]:
    """
    Render the template fields that have a shape, if the Dag renders native objects; return the names of the others.

    :param names: Names of the fields.
    :param load_shapes: Loads the shapes of fields, by name.
    :param seen_oids: Identities of values that are already rendered, or come from another task.
    """
    if not is_native(jinja_env):
        return names
    shapes = {name: shape for name, shape in load_shapes().items() if name in names}
    renderer = _Renderer(task, context, jinja_env, seen_oids)
    for name, shape in shapes.items():
        try:
            setattr(task, name, renderer.render_field(shape, getattr(task, name)))
        except Exception:
            # The same line as Airflow logs for the fields that it renders, so that a search in the logs finds both.
            task.log.exception("Exception rendering Jinja template for task '%s', field '%s'.", task.task_id, name)
            raise
    return [name for name in names if name not in shapes]


def render_value_by_shape(
    task: BaseOperator, shape: Any, value: Any, context: Context, jinja_env: Any, seen_oids: set[int]
) -> Any:
    """
    Render a value: by the service model if the Dag renders native objects, else as Airflow does.

    :param shape: Its shape; None if it has none.
    """
    if not is_native(jinja_env):
        shape = None
    return _Renderer(task, context, jinja_env, seen_oids).render_field(shape, value)


def describe_template_error(error: Exception) -> str:
    """
    Describe why a template cannot be rendered, without quoting it: a password that contains braces is parsed as a template.

    This names the kind of error. For a syntax error of Jinja it adds the line, for an undefined variable its name, and for a missing
    attribute or item the type of the object, but not the attribute or item, which may be a confidential value that the template looked up.
    """
    from jinja2 import TemplateSyntaxError, UndefinedError

    kind = type(error).__name__
    if isinstance(error, TemplateSyntaxError):
        return f"{kind}: line {error.lineno}"
    if isinstance(error, UndefinedError) and (match := re.fullmatch(_UNDEFINED, error.message or "", re.DOTALL)):
        return f"{kind}: {match['variable'] or match['attribute'] + ' ***'}"
    return kind


def is_native(jinja_env: Any) -> bool:
    """Whether a Jinja environment renders native objects."""
    from jinja2.nativetypes import NativeEnvironment

    return isinstance(jinja_env, NativeEnvironment)


class _Renderer:
    def __init__(self, task: BaseOperator, context: Context, jinja_env: Any, seen_oids: set[int]) -> None:
        self._task = task
        self._context = context
        self._env = jinja_env
        self._seen = seen_oids
        self._texts_env: Any = None

    def render_field(self, shape: Any, value: Any) -> Any:
        # A function as a template field: Airflow calls it with these arguments instead of rendering it.
        if callable(value):
            return value(context=self._context, jinja_env=self._env)
        return self._render(shape, value)

    def _render(self, shape: Any, value: Any) -> Any:
        kind = shape.type_name if shape is not None else ""
        if id(value) in self._seen or kind not in (*_TEXTS, *_CONTAINERS):
            return self._render_as_airflow(value)
        if isinstance(value, str):
            return self._render_text(value, as_text=kind in _TEXTS)
        if isinstance(value, dict):
            return {key: self._render(_find_child_shape(shape, key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._render(_find_child_shape(shape, None), item) for item in value]
        return self._render_as_airflow(value)

    def _render_as_airflow(self, value: Any) -> Any:
        return self._task.render_template(value, self._context, self._env, self._seen)

    def _render_text(self, source: str, *, as_text: bool) -> Any:
        """Render a template: to the object that its only expression gives, unless a text is wanted; a text is never evaluated as Python."""
        from jinja2 import Undefined

        nodes = self._evaluate_nodes(source)
        # Like Jinja's own native environment, an empty template gives None.
        if len(nodes) != 1 or isinstance(nodes[0], (str, Undefined)):
            return "".join(map(str, nodes)) if nodes or as_text else None
        return str(nodes[0]) if as_text and nodes[0] is not None else nodes[0]

    def _evaluate_nodes(self, source: str) -> list[Any]:
        """Evaluate the parts of a template; an expression gives an object."""
        if self._texts_env is None:
            self._texts_env = self._env.overlay()
            # Otherwise the output of blocks, macros and filters would be evaluated as Python, too.
            self._texts_env.concat = _join
        env = self._texts_env
        is_file = source.endswith(tuple(self._task.template_ext))
        template = env.get_template(source) if is_file else env.from_string(source)
        # Template.render() would copy the context as a dictionary, and Airflow's contexts log a warning about that.
        scope: Any = copy(self._context)
        scope.update({name: value for name, value in template.globals.items() if name not in scope})
        return list(template.root_render_func(template.new_context(scope, shared=True)))


def _join(parts: Iterable[Any]) -> str:
    return "".join(map(str, parts))


def _find_child_shape(shape: Any, key: str | None) -> Any:
    """Return the shape of an item; a container in place of a text, such as a policy, consists of texts."""
    return shape if shape.type_name in _TEXTS else find_child_shape(shape, key)
