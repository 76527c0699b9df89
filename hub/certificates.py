"""The hub's certificate and key, and whose client certificates it believes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hub.gateway_settings import TlsSettings
from streams.errors import MisuseError

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class Certificates:
    """A context for servers, which takes in files that are renewed while it is in use."""

    def __init__(self, settings: TlsSettings) -> None:
        """Read all files. MisuseError names the one that cannot be used, and the remedy."""
        assert settings.certificate is not None
        self._certificate = settings.certificate
        self._key = settings.key or settings.certificate
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = _VERSIONS[settings.version_min]
        self._load(self.context)
        if settings.client_ca is not None:
            _check_readable(settings.client_ca, "client_ca")
            try:
                self.context.load_verify_locations(settings.client_ca)
            except (ssl.SSLError, OSError) as error:
                raise MisuseError(
                    f"hub.mqtt.tls.client_ca: {settings.client_ca} holds no certificate in PEM: {error}"
                ) from None
        self.context.verify_mode = _VERIFY[settings.client_certificates]
        self._seen = self._times()

    def renew(self) -> bool:
        """Load the files again if they have changed: new connections get the new certificate. MisuseError as above."""
        times = self._times()
        if times == self._seen:
            return False
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # one that cannot be used leaves the old one in use
        self._load(self.context)
        self._seen = times
        return True

    def _load(self, context: ssl.SSLContext) -> None:
        _check_readable(self._certificate, "certificate")
        _check_readable(self._key, "key")
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except _EncryptedKey:
            raise MisuseError(
                f"hub.mqtt.tls.key: {self._key} is encrypted; store it without a password, readable by the hub alone"
            ) from None
        except ssl.SSLError as error:
            reason = error.reason or str(error)
            if "MISMATCH" in reason:
                raise MisuseError(
                    f"hub.mqtt.tls.key: {self._key} is not the key of the certificate in {self._certificate}"
                ) from None
            raise MisuseError(
                f"hub.mqtt.tls: {self._certificate} and {self._key} must hold a certificate and its key (PEM): {reason}"
            ) from None

    def _times(self) -> list[int]:
        return [path.stat().st_mtime_ns if path.exists() else 0 for path in (self._certificate, self._key)]


class _EncryptedKey(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedKey


def _check_readable(path: Path, name: str) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        raise MisuseError(f"hub.mqtt.tls.{name}: there is no file {path}; name one, or make it") from None
    except OSError as error:
        raise MisuseError(
            f"hub.mqtt.tls.{name}: {path} cannot be read: {error.strerror}; let the user of the hub read it"
        ) from None


def common_name(certificate: Mapping[str, Any] | None) -> str | None:
    """The name in a client's certificate, as `getpeercert` gives it; None when there is none."""
    subject: Sequence[Sequence[tuple[str, str]]] = (certificate or {}).get("subject", ())
    names = [value for part in subject for name, value in part if name == "commonName"]
    return names[-1] if names else None
