"""What all operators share; a class of ours says only what the service model cannot know."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml._compat import AirflowException, BaseOperator
from airflow_cleanroomsml._connection.aws_connection import AwsConnection
from airflow_cleanroomsml._requests.sensitive import hide, holds_sensitive, reveal
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML
from airflow_cleanroomsml._templating import TEXT, is_native, render_by_shape, rendered_by_shape
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, InvalidRequestError

if TYPE_CHECKING:
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook


class CleanRoomsMLBaseOperator(AwsConnection, BaseOperator):
    """
    A task that speaks to the service.

    :param aws_conn_id: Airflow connection of type ``aws``; None takes boto3's own credentials.
    :param region_name: AWS region.
    :param verify: Whether or with which certificates to verify TLS.
    :param botocore_config: Arguments of ``botocore.config.Config``.
    """

    template_fields: Collection[str] = AwsConnection.connection_fields
    ui_color = "#f0e6ff"
    #: What the task returns; ``output["metrics"]`` is what it pushes under another key, which Airflow's own annotation does not allow.
    output: PlainXComArg

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """
        Render the fields, and hide what is not to be shown before Airflow stores them.

        Airflow logs the template of a field that cannot be rendered: those that may be confidential are rendered without it.
        """
        # A value may bring template fields of its own.
        own = parent is self
        confidential = self._confidential_fields() if own else ()
        plain = [name for name in template_fields if name not in confidential]
        if own and is_native(jinja_env):
            shapes = {name: shape for name, shape in self._field_shapes().items() if name in plain}
            render_by_shape(self, shapes, context, jinja_env, seen_oids)
            plain = [name for name in plain if name not in shapes]
        super()._do_render_template_fields(parent, plain, context, jinja_env, seen_oids)
        for name in confidential:
            setattr(self, name, self._hide(name, self._rendered(name, context, jinja_env, seen_oids)))

    def _rendered(self, name: str, context: Context, jinja_env: Any, seen_oids: set[int]) -> Any:
        shape = self._field_shapes().get(name)
        try:
            return rendered_by_shape(self, shape, getattr(self, name), context, jinja_env, seen_oids)
        except AirflowException:
            raise
        except Exception as error:
            # A syntax error quotes the template in its text, other errors their values: their kind has to do. Raised below, for what is
            # raised here keeps the error as its context.
            why = getattr(error, "message", None) if type(error).__module__.startswith("jinja2") else None
            raised = CleanRoomsMLError(
                f"{name}: its template cannot be rendered: {type(error).__name__}{f': {why}' if why else ''}"
            )
        raise raised

    def _field_shapes(self) -> dict[str, Any]:
        """The shapes of template fields, as far as they are texts, or hold texts; see :mod:`airflow_cleanroomsml._templating`."""
        return {"aws_conn_id": TEXT, "region_name": TEXT}

    def _confidential_fields(self) -> Collection[str]:
        """Template fields that may hold what is not to be shown."""
        return ()

    def _hide(self, name: str, value: Any) -> Any:
        """A rendered field with what is not to be shown hidden."""
        return value


class CleanRoomsMLOperator(CleanRoomsMLBaseOperator):
    """
    One operation of the API as a task.

    A subclass names its ``operation`` and declares the request's members as keyword-only parameters, which are stored as they are;
    the template fields follow from the signature. Once rendered, an argument that is not to be shown, such as SQL or the environment
    of a container, is kept as :class:`~airflow_cleanroomsml._requests.sensitive.Hidden`; ``request`` has the plain values.
    """

    #: boto3's name of the service.
    service: ClassVar[str] = CLEAN_ROOMS_ML
    #: boto3's method name.
    operation: ClassVar[str]
    #: Member of the answer that is the task's result, in snake_case.
    returns: ClassVar[str | None] = None
    #: Request members, in snake_case; read from the signature.
    arguments: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "operation" in cls.__dict__:
            parameters = inspect.signature(cls.__init__).parameters.values()
            cls.arguments = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
            cls.template_fields = (*cls.arguments, *CleanRoomsMLBaseOperator.template_fields)

    @property
    def api(self) -> CleanRoomsMLHook:
        """The hook of the operation's service."""
        return self.hook.of(self.service)

    @property
    def request(self) -> dict[str, Any]:
        """The arguments that were given."""
        given = {name: reveal(getattr(self, name)) for name in self.arguments}
        return {name: value for name, value in given.items() if value is not None}

    def _field_shapes(self) -> dict[str, Any]:
        return {**super()._field_shapes(), **self._argument_shapes()}

    def _confidential_fields(self) -> Collection[str]:
        return [name for name, shape in self._argument_shapes().items() if holds_sensitive(shape)]

    def _hide(self, name: str, value: Any) -> Any:
        return hide(self._argument_shapes()[name], value)

    def _argument_shapes(self) -> dict[str, Any]:
        """The shapes of the arguments that the installed model knows."""
        from airflow_cleanroomsml._requests.request import argument_shapes

        shapes = argument_shapes(self.service, self.operation)
        return {name: shapes[name] for name in self.arguments if name in shapes}

    def _typed(self) -> Request:
        """The request, typed and checked; its doubts were logged when it was sent."""
        from airflow_cleanroomsml._requests.request import Request, load

        return Request(load(self.service), self.operation, self.request)

    def execute(self, context: Context) -> Any:
        """Do the operation; see the class for what is returned."""
        self._prepare()
        return self._complete(context, self._submit())

    def _prepare(self) -> None:
        """Refuse before anything is sent what could only fail afterwards."""
        self.check_connection()

    def _require_flags(self, *names: str) -> None:
        """
        Refuse a text where a truth is asked for: ``"False"`` is true.

        :raises InvalidRequestError: One is neither True nor False.
        """
        for name in names:
            if not isinstance(value := getattr(self, name), bool):
                raise InvalidRequestError(f"{name}: {value!r} is not valid; must be True or False, not a template")

    def _submit(self) -> dict[str, Any]:
        """Send the request; the answer's members by their names in snake_case."""
        return self._send(self.api.check(self.operation, self.request))

    def _send(self, request: Request, **more: Any) -> dict[str, Any]:
        from botocore import xform_name

        return {xform_name(name): value for name, value in self.api.send(request, **more).items()}

    def _complete(self, context: Context, answer: dict[str, Any]) -> Any:
        """What the task returns, and whatever has to happen before."""
        return answer[self.returns] if self.returns else None
