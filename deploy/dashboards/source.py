"""The data source: InfluxDB asked in InfluxQL, which 1.8, 2.x and 3 all answer on /query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

UID = "penstock"
NAME = "Penstock"
REFERENCE = {"type": "influxdb", "uid": UID}
MIN_INTERVAL = "1s"  # devices read about once a second: smaller buckets are empty


class Store(Protocol):
    """The settings of the store, as far as Grafana needs them."""

    @property
    def influx_url(self) -> str: ...

    @property
    def influx_bucket(self) -> str: ...

    @property
    def influx_token(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where Grafana finds the readings. `token` is kept out of every repr; empty: the server asks for none."""

    url: str
    bucket: str
    token: str

    def __repr__(self) -> str:
        return f"Source(url={self.url!r}, bucket={self.bucket!r})"

    def to_json(self) -> dict[str, Any]:
        """The data source, as Grafana's HTTP API and its provisioning files take it."""
        source: dict[str, Any] = {
            "uid": UID,
            "name": NAME,
            "type": "influxdb",
            "access": "proxy",
            "url": self.url,
            "jsonData": {"dbName": self.bucket, "httpMode": "POST", "timeInterval": MIN_INTERVAL},
        }
        if self.token:
            source["jsonData"]["httpHeaderName1"] = "Authorization"
            source["secureJsonData"] = {"httpHeaderValue1": f"Token {self.token}"}
        return source
