"""MQTT packets, 3.1.1 and 5.0, without I/O: bytes to values and back, for servers and clients.

Source: OASIS MQTT 3.1.1 (29 October 2014) and MQTT 5.0 (7 March 2019); their section numbers stand beside the rules.
"""

from streams.mqtt.decode import decode
from streams.mqtt.encode import encode
from streams.mqtt.malformed import MalformedPacket
from streams.mqtt.packets import (
    Acknowledge,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from streams.mqtt.properties import Properties, Property
from streams.mqtt.reasons import Reason

__all__ = [
    "Acknowledge",
    "Auth",
    "Connack",
    "Connect",
    "Disconnect",
    "MalformedPacket",
    "Packet",
    "PacketType",
    "Pingreq",
    "Pingresp",
    "Properties",
    "Property",
    "Publish",
    "Reason",
    "Suback",
    "Subscribe",
    "Subscription",
    "Unsuback",
    "Unsubscribe",
    "Will",
    "decode",
    "encode",
]
