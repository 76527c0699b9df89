"""The TLS context of the connection to the hub: whom to believe, and who we are."""

from __future__ import annotations

import ssl
from pathlib import Path

from edge.settings import LinkSettings
from streams.errors import MisuseError


def tls_context(settings: LinkSettings) -> ssl.SSLContext | None:
    """Made anew for each connection, so that renewed files are used. None without TLS. MisuseError names the file."""
    if not settings.tls:
        return None
    for name, path in (("ca", settings.ca), ("certificate", settings.certificate), ("key", settings.key)):
        if path is not None and not path.is_file():
            raise MisuseError(f"edge.link.{name}: there is no file {path}; name one, or leave it out")
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (ssl.SSLError, OSError) as error:
        raise MisuseError(f"edge.link.ca: {settings.ca} holds no certificate in PEM: {error}") from None
    if settings.certificate is not None:
        _load(context, settings.certificate, settings.key or settings.certificate)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _EncryptedKey:
        raise MisuseError(
            f"edge.link.key: {key} is encrypted; store it without a password, readable by the agent alone"
        ) from None
    except (ssl.SSLError, OSError) as error:
        raise MisuseError(
            f"edge.link.certificate: {certificate} and {key} are no certificate and its key in PEM: {error}"
        ) from None


class _EncryptedKey(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedKey
