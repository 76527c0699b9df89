"""The rules that hold without any setting: a device touches its own topics, everybody else the rest."""

from __future__ import annotations

from hub.gateway_settings import GatewaySettings
from hub.intake import Client
from streams.names import TOPIC_ROOT

_OURS = TOPIC_ROOT.split("/")[0]


class DefaultAuthority:
    """An Authority: below penstock/ a client has penstock/v1/ITS-ID/ alone; topics that begin with $ are nobody's."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings

    def admit(self, client: Client, password: bytes | None) -> bool:
        return True

    def may_publish(self, client: Client, topic: str) -> bool:
        if topic.startswith("$"):
            return False
        return _is_own(client, topic) or topic.split("/", 1)[0] != _OURS

    def may_subscribe(self, client: Client, topic_filter: str) -> bool:
        if _is_own(client, topic_filter):
            return True
        first = topic_filter.split("/", 1)[0]
        return first not in (_OURS, "+", "#") and not first.startswith("$")


def _is_own(client: Client, topic: str) -> bool:
    return topic.startswith(f"{TOPIC_ROOT}/{client.client_id}/")
