"""Who may connect, and which topics are whose."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from functools import lru_cache

from hub.gateway_settings import GatewaySettings, TopicRule
from hub.intake import Client
from streams import names
from streams.errors import JunkError

OURS = names.TOPIC_ROOT.split("/")[0]
"""The first level of the topics of devices. A + or # at the beginning of a filter does not see it."""
SYSTEM = "$SYS"


class DefaultAuthority:
    """An Authority. Below penstock/ a client has penstock/v1/ITS-ID/ alone; of what begins with $, it may read $SYS."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._allow_anonymous = settings.allow_anonymous
        self._identity = settings.identity
        self._certified = settings.tls.client_certificates == "required" and not settings.plain
        self._rules = settings.rules
        self._passwords = {name: password.encode() for name, _, password in (u.partition(":") for u in settings.users)}

    def admit(self, client: Client, password: bytes | None) -> bool:
        return self._is_known(client, password) and self._is_itself(client)

    def may_publish(self, client: Client, topic: str) -> bool:
        first = topic.split("/", 1)[0]
        if first == OURS:
            return _is_own(client.client_id, topic)
        return not first.startswith("$") and self._allows(client, topic, [rule.publish for rule in self._of(client)])

    def may_subscribe(self, client: Client, topic_filter: str) -> bool:
        first = topic_filter.split("/", 1)[0]
        if first == OURS:
            return _is_own(client.client_id, topic_filter)
        if first.startswith("$") and first != SYSTEM:
            return False
        return self._allows(client, topic_filter, [rule.subscribe for rule in self._of(client)])

    def _is_known(self, client: Client, password: bytes | None) -> bool:
        if self._passwords:
            known = self._passwords.get(client.username or "")
            same = hmac.compare_digest(known or b"", password or b"")
            if known is not None and same:
                return True
            return client.certificate is not None and client.username is None
        return self._allow_anonymous or client.certificate is not None

    def _is_itself(self, client: Client) -> bool:
        """Where a name says which device a client is, the client id is that name, or a part of it: NAME/anything."""
        if self._identity == "client_id":
            return True
        name = client.username if self._identity == "username" else client.certificate
        return name is not None and (client.client_id == name or client.client_id.startswith(f"{name}/"))

    def _of(self, client: Client) -> list[TopicRule]:
        return [rule for rule in self._rules if rule.user in ("*", client.username, client.certificate)]

    def _allows(self, client: Client, topic_filter: str, filters: Sequence[Sequence[str]]) -> bool:
        if not self._rules:
            return True
        name = client.certificate or client.username or ""
        if any(sign in part for part in (client.client_id, name) for sign in "+#"):
            return False  # it must not become a wildcard
        given = [each.replace("%c", client.client_id).replace("%u", name) for some in filters for each in some]
        return any(_covers(each.split("/"), topic_filter.split("/")) for each in given)


def _covers(allowed: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether every topic that fits the filter `asked` fits the filter `allowed`."""
    for place, level in enumerate(allowed):
        if level == "#":
            return place > 0 or not asked[0].startswith("$")
        if place == len(asked) or asked[place] == "#":
            return False
        if level == "+":
            if place == 0 and asked[0].startswith("$"):
                return False
        elif level != asked[place]:
            return False
    return len(allowed) == len(asked)


def _is_own(client_id: str, topic: str) -> bool:
    return _is_device(client_id) and topic.startswith(f"{names.TOPIC_ROOT}/{client_id}/")


@lru_cache(maxsize=10_000)
def _is_device(client_id: str) -> bool:
    """A client id that is no device id, such as "+", must not become a part of a topic."""
    try:
        names.check_device(client_id)
    except JunkError:
        return False
    return True
