"""A Grafana, as far as its documented HTTP API for data sources, folders and dashboards goes."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_for_tests"


@dataclass
class Grafana:
    """What it was sent."""

    url: str = ""
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    role: str = "Admin"
    broken: bool = False

    def answer(self, method: str, path: str, body: Any, token: str | None) -> tuple[int, Any]:
        self.calls.append((method, path))
        if self.broken:
            return 500, {"message": "database is locked"}
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key"}
        if self.role != "Admin" and method != "GET":
            return 403, {"message": "You'll need additional permissions"}
        parts = path.removeprefix("/api/").split("/")
        if parts[0] == "datasources":
            return self._datasource(method, parts, body)
        if parts[0] == "folders":
            return self._folder(method, parts, body)
        if (method, parts) == ("POST", ["dashboards", "db"]):
            return self._dashboard(body)
        return 404, {"message": "Not found"}

    def _datasource(self, method: str, parts: list[str], body: Any) -> tuple[int, Any]:
        if method == "POST":
            if body["uid"] in self.sources or any(each["name"] == body["name"] for each in self.sources.values()):
                return 409, {"message": "data source with the same name already exists"}
            self.sources[body["uid"]] = body
            return 200, {"datasource": body, "message": "Datasource added"}
        uid = parts[2]
        if uid not in self.sources:
            return 404, {"message": "Data source not found"}
        if method == "PUT":
            self.sources[uid] = body
        return 200, self.sources[uid]

    def _folder(self, method: str, parts: list[str], body: Any) -> tuple[int, Any]:
        if method == "POST":
            if body.get("uid") in self.folders:
                return 409, {"message": "a folder with the same uid already exists"}
            self.folders[body["uid"]] = body
            return 200, body
        return (200, self.folders[parts[1]]) if parts[1] in self.folders else (404, {"message": "folder not found"})

    def _dashboard(self, body: Any) -> tuple[int, Any]:
        made = body["dashboard"]
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        if made["uid"] in self.dashboards and not body.get("overwrite"):
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        self.dashboards[made["uid"]] = body
        return 200, {"id": 1, "uid": made["uid"], "url": f"/d/{made['uid']}/x", "status": "success", "version": 1}


@contextlib.contextmanager
def grafana() -> Iterator[Grafana]:
    """One that listens on a port of its own."""
    state = Grafana()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = state.answer(self.command, self.path, body, self.headers.get("Authorization"))
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
