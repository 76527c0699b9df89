"""Who holds a port is named."""

from __future__ import annotations

import os
import socket

from penstock.ports import holder, is_free


def test_a_port_that_is_held_is_not_free_and_its_holder_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        assert holder(port).endswith(f"(process {os.getpid()})")
    assert is_free("127.0.0.1", port)
    assert holder(port) == "another process"
