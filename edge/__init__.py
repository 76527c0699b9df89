"""The edge agent: reads sensors, numbers every reading, keeps it on disk until the hub has it, runs commands once.

It needs Python's standard library and paho-mqtt alone, so that it runs on the smallest Pi.
"""
