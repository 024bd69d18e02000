"""Checks the files that a TLS handshake needs: CA bundles and client certificates."""

from __future__ import annotations

import errno
import ssl
from typing import Any

from airflow_cleanroomsml.exceptions import CleanRoomsMLError, ConfigurationError

#: Permanent reasons for an unreadable file; others, such as EIO of a network file system, may be temporary.
_UNREADABLE = frozenset((errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EPERM))


def require_bundle(path: str, source: str) -> None:
    """
    Reject a CA bundle that cannot be used.

    :param source: Name of the argument, entry or variable that contains its path.
    :raises ConfigurationError: The path is blank, or the file is missing, unreadable or without a certificate.
    """
    if not path.strip():
        raise ConfigurationError(f"{source}: {path!r} is blank; must be the path of a CA bundle. Nothing was sent.")
    # Loaded as a TLS handshake would, since a file that can be read may still contain no certificate.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:
        what = f"{source}: {path!r} is not a usable CA bundle"
        raise _explain_unusable(what, error, "it contains no valid certificate") from None


def require_certificate(certificate: Any, source: str) -> None:
    """
    Reject a client certificate that cannot be used.

    :param certificate: Path of a file with the certificate and its key, or the paths of both.
    :param source: Name of the entry that contains it.
    :raises ConfigurationError: A file is missing or unreadable, or does not contain a certificate and its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        file, key = (certificate, None) if isinstance(certificate, str) else certificate
        context.load_cert_chain(file, key, password="")  # without a password, OpenSSL would prompt for one
    except (OSError, TypeError, ValueError) as error:
        what = f"{source}: {certificate!r} is not a usable certificate"
        raise _explain_unusable(
            what, error, "it needs a certificate with its private key, without a password"
        ) from None


def _explain_unusable(what: str, error: Exception, missing: str) -> CleanRoomsMLError:
    """
    Build the error about a file.

    :param missing: What OpenSSL did not find in it.
    """
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno not in _UNREADABLE:
        return CleanRoomsMLError(f"{what}: {error.strerror or error}. Nothing was sent.")
    why = missing if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None) or error
    return ConfigurationError(f"{what}: {why}. Nothing was sent.")
