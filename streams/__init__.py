"""The shared ground of every room: events, frames, the event log, MQTT packets, clock, files, settings.

A thing enters only when two rooms need it. Nothing here imports another room.
"""
