"""The pages put together, and mounted beside the API."""

from __future__ import annotations

from fastapi import FastAPI
from nicegui import app as site
from nicegui import ui

from hub.web.front import Front
from hub.web.pages import alarms, commands, device, fleet, ledger
from hub.web.pages.frame import ASSETS, ASSETS_URL

PAGES = (fleet, device, alarms, commands, ledger)


def mount(app: FastAPI, front: Front) -> None:
    """Serve every page from `app`, asking `front`."""
    for page in PAGES:
        page.register(lambda: front)
    site.add_static_files(ASSETS_URL, ASSETS)
    ui.run_with(
        app,
        title="Penstock",
        favicon=ASSETS / "icon.svg",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
        binding_refresh_interval=None,
    )
