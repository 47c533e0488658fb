"""The names of things: one type each, so that no bare string or number crosses a module border."""

from typing import NewType

ServiceId = NewType("ServiceId", str)
DeviceId = NewType("DeviceId", str)
NodeId = NewType("NodeId", str)

RunId = NewType("RunId", int)
"""One life of one service; of a model inside a server, from load to unload.

Grows over all services and is never given twice (see `RunsFound`).
"""

TicketId = NewType("TicketId", int)
"""One request, or one start by hand, from arrival to its end.  The caller counts upwards."""

LOCAL_NODE = NodeId("local")
RAM = DeviceId("ram")
"""Main memory is a device like any other: it has a capacity, a headroom and claims."""
