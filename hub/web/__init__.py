"""The web process: the public HTTP API and the page, a front door that asks the hub and the processors."""
