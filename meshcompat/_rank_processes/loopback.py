"""The network of one machine."""

from __future__ import annotations

import os
import socket


def talk_on_loopback() -> None:
    """Have gloo talk through the loopback interface, unless the environment names another.

    Without it gloo looks up the host's name, which is slow or unknown on many machines.
    """
    for _, name in socket.if_nameindex():
        if name.startswith("lo"):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
