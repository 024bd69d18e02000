"""
Undocumented parts of moto and werkzeug that the emulator uses, each with a fallback for a release without it.

The emulator runs without Airflow, so it cannot use :mod:`airflow_cleanroomsml._compat`, which imports Airflow.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

from werkzeug.serving import WSGIRequestHandler

from airflow_cleanroomsml.emulator.errors import ApiError, not_implemented_error

_MOTO_SERVER = "moto.moto_server.werkzeug_app"
_ONLY_CLEAN_ROOMS = (
    "only Clean Rooms and Clean Rooms ML are served. Install a moto release that the emulator extra allows"
)


def _find(module: str, name: str) -> Any:
    """Return an attribute of a module; None if the installed release has no such module or attribute."""
    with suppress(ImportError):
        return getattr(import_module(module), name, None)
    return None


def _missing_error(module: str, name: str, consequence: str) -> ApiError:
    return not_implemented_error(f"moto {version('moto')} has no {module}.{name}, so {consequence}.")


def find_request_handler() -> type[WSGIRequestHandler]:
    """
    Return the base class for the server's request handler.

    moto's keeps underscores in the names of S3 metadata headers. Without it, werkzeug's drops these headers.
    """
    handler: type[WSGIRequestHandler] = _find(_MOTO_SERVER, "MotoRequestHandler") or WSGIRequestHandler
    return handler


class MotoDispatcher:
    """
    Dispatches requests for other services to moto.

    If moto lacks the parts of its own server, only requests for these services fail, not those for Clean Rooms ML.

    :param create_app: Creates the WSGI application of a service from moto's name of it, see :func:`create_moto_app`.
    """

    def __init__(self, create_app: Callable[[Any], Any]) -> None:
        dispatcher = _find(_MOTO_SERVER, "DomainDispatcherApplication")
        self._dispatcher: Any = dispatcher and dispatcher(create_app)
        # For each request, moto would list the folder of its services, which takes longer than most of its answers.
        with suppress(AttributeError):
            self._dispatcher.get_backend_for_host = lru_cache(1_000)(self._dispatcher.get_backend_for_host)

    def find_application(self, environ: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
        """
        Return moto's WSGI application for the service of a request.

        :raises ApiError: The installed moto cannot dispatch requests.
        """
        if self._dispatcher is None:
            raise _missing_error(_MOTO_SERVER, "DomainDispatcherApplication", _ONLY_CLEAN_ROOMS)
        app: Callable[..., Iterable[bytes]] = self._dispatcher.get_application(environ)
        return app


def create_moto_app(service: Any) -> Any:
    """
    Create moto's WSGI application for one service.

    :param service: moto's name of the service.
    :raises ApiError: The installed moto cannot create one.
    """
    create = _find(_MOTO_SERVER, "create_backend_app")
    if create is None:
        raise _missing_error(_MOTO_SERVER, "create_backend_app", _ONLY_CLEAN_ROOMS)
    return create(service)


def find_account(access_key: str) -> str:
    """
    Return the account of an access key that moto issued, for instance when it assumed a role.

    Only such keys need moto's IAM, which takes as long to import as the rest of the server.

    :raises ApiError: The installed moto cannot tell.
    """
    find = _find("moto.iam.models", "get_account_id_from")
    if find is None:
        consequence = "the account of the access key is unknown. Use the account id, twelve digits, as the access key"
        raise _missing_error("moto.iam.models", "get_account_id_from", consequence)
    return str(find(access_key))


def find_assumed_role(account: str, partition: str, access_key: str) -> str:
    """Return the ARN of the role that an access key was issued for; empty if there is none, or moto cannot tell."""
    backends = _find("moto.sts.models", "sts_backends")
    # sts_backends is indexed by account and partition since moto 5.0.
    with suppress(AttributeError, KeyError, TypeError):
        session = backends[account][partition].get_assumed_role_from_access_key(access_key)
        return str(session.role_arn) if session else ""
    return ""


def find_role(account: str, partition: str, name: str) -> Any:
    """
    Return a role of moto's IAM; None if there is none, or moto cannot tell.

    :param name: Its name, without a path.
    """
    # Nobody has created a role unless moto's IAM has been imported, which takes as long as starting the emulator.
    backends: Any = getattr(sys.modules.get("moto.iam.models"), "iam_backends", None)
    with suppress(AttributeError, KeyError, TypeError):
        roles = backends[account][partition].roles.values()
        return next((role for role in roles if role.name == name), None)
    return None


def list_role_policies(role: Any) -> list[str]:
    """Return the documents of all policies of a role that :func:`find_role` returned."""
    inline = [str(document) for document in getattr(role, "policies", {}).values()]
    managed = [str(getattr(policy, "document", "{}")) for policy in getattr(role, "managed_policies", {}).values()]
    return [*inline, *managed]


def replace_policy_evaluation(evaluate: Callable[[Any, str, str], Any]) -> None:
    """
    Let moto's S3 ask a function of ours what a bucket policy says about a request.

    A moto without ``FakeBucket.get_permission`` keeps its own evaluation, which ignores conditions and most principals.

    :param evaluate: Takes moto's bucket, the action and the ARN of the resource.
    """
    bucket = _find("moto.s3.models", "FakeBucket")
    if hasattr(bucket, "get_permission") and _find("moto.iam.access_control", "PermissionResult"):
        bucket.get_permission = evaluate


def get_permission_result(name: str) -> Any:
    """
    Return moto's result of an evaluation.

    :param name: PERMITTED, DENIED or NEUTRAL.
    """
    return getattr(_find("moto.iam.access_control", "PermissionResult"), name)


def build_s3_access_denied(message: str) -> Exception | None:
    """Build the exception for which moto's S3 returns AccessDenied with a message; None where moto has none."""
    error = _find("moto.s3.exceptions", "S3ClientError")
    return error("AccessDenied", message) if error else None


def get_raw_path(environ: Mapping[str, Any]) -> str:
    """
    Return the path of a request as the client sent it, without the query string.

    botocore percent-encodes an ARN in the path, slashes included. WSGI only defines the decoded ``PATH_INFO``, in which an ARN cannot be
    distinguished from the rest of the path; werkzeug and gunicorn add ``RAW_URI``, others ``REQUEST_URI``, waitress neither.

    :raises ApiError: The server adds neither, and the path contains an ARN.
    """
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        return str(raw).split("?", maxsplit=1)[0]
    path = str(environ.get("PATH_INFO", ""))
    if "arn:" in path:
        raise not_implemented_error(
            "The WSGI server passes on neither RAW_URI nor REQUEST_URI, so the ARN in the path cannot be read. Use werkzeug or gunicorn."
        )
    return path


def close_connection(environ: Mapping[str, Any]) -> bool:
    """
    Close the connection of a request without a response.

    :return: False where the server does not give access to the socket. werkzeug's does (``werkzeug.socket``).
    """
    connection = environ.get("werkzeug.socket")
    if connection is None:
        return False
    # Not close(), which does nothing while werkzeug's handler has files open on the socket.
    connection.shutdown(socket.SHUT_RDWR)
    return True
