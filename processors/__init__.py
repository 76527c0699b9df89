"""The processors: consumers of the event log. They decode, detect, raise alarms and fill the time-series store."""
