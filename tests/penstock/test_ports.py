"""Who holds a port is named."""

from __future__ import annotations

import os
import socket

import pytest

from penstock.ports import free_port, holder, is_free
from streams.errors import MisuseError


def test_a_port_that_is_held_is_not_free_and_its_holder_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        assert holder(port).endswith(f"(process {os.getpid()})")
    assert is_free("127.0.0.1", port)
    assert holder(port) == "another process"


def test_an_address_that_is_not_ours_is_not_called_taken() -> None:
    with pytest.raises(MisuseError, match=r"cannot listen on 203\.0\.113\.7: .*address of this machine"):
        is_free("203.0.113.7", 0)


def test_a_free_port_is_free() -> None:
    assert is_free("127.0.0.1", free_port("127.0.0.1"))
