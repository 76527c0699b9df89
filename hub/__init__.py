"""The hub: MQTT gateway, ingest into the event log, device registry, commands, ledger, control API."""
