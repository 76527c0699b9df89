"""Who may connect, and which topics are whose."""

from __future__ import annotations

import hmac
from functools import lru_cache

from hub.gateway_settings import GatewaySettings
from hub.intake import Client
from streams import names
from streams.errors import JunkError

OURS = names.TOPIC_ROOT.split("/")[0]
"""The first level of the topics of devices. A + or # at the beginning of a filter does not see it."""


class DefaultAuthority:
    """An Authority. Below penstock/ a client has penstock/v1/ITS-ID/ alone; topics that begin with $ are nobody's."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._allow_anonymous = settings.allow_anonymous
        self._passwords = {name: password.encode() for name, _, password in (u.partition(":") for u in settings.users)}

    def admit(self, client: Client, password: bytes | None) -> bool:
        if not self._passwords:
            return self._allow_anonymous
        known = self._passwords.get(client.username or "")
        same = hmac.compare_digest(known or b"", password or b"")
        return known is not None and same

    def may_publish(self, client: Client, topic: str) -> bool:
        return _may_use(client.client_id, topic)

    def may_subscribe(self, client: Client, topic_filter: str) -> bool:
        return _may_use(client.client_id, topic_filter)


def _may_use(client_id: str, topic: str) -> bool:
    first = topic.split("/", 1)[0]
    if first == OURS:
        return _is_device(client_id) and topic.startswith(f"{names.TOPIC_ROOT}/{client_id}/")
    return not first.startswith("$")


@lru_cache(maxsize=10_000)
def _is_device(client_id: str) -> bool:
    """A client id that is no device id, such as "+", must not become a part of a topic."""
    try:
        names.check_device(client_id)
    except JunkError:
        return False
    return True
