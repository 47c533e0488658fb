"""Ports of this host that a configuration wants twice."""

from collections.abc import Iterator, Mapping

from proxycore import ServiceId
from proxyserver.runtime._protocol import ContainerSpec, ProcessSpec

from ._errors import Problems, Steps
from ._model import ServerEntry
from ._settings import Service

_EVERYWHERE = ("0.0.0.0", "::")


def check_ports(
    server: ServerEntry, services: Mapping[ServiceId, Service], found: Problems
) -> None:
    """Refuse two on one port of the host, even if they would never run at once."""
    taken = [(server.host, server.port, "tcp", "the proxy itself")]
    if (tls := server.tls) is not None and tls.port is not None:
        taken.append((tls.host or server.host, tls.port, "tcp", "the proxy itself"))
    for service in services.values():
        for address, port, protocol, at in _host_ports(service):
            for other_address, other_port, other_protocol, owner in taken:
                if (port, protocol) == (other_port, other_protocol) and (
                    address == other_address
                    or address in _EVERYWHERE
                    or other_address in _EVERYWHERE
                ):
                    found.add(at, f"port {port} of this host is taken by {owner}")
                    break
            taken.append((address, port, protocol, f"service {service.spec.id!r}"))


def _host_ports(service: Service) -> Iterator[tuple[str, int, str, Steps]]:
    """Yield address, port and protocol of every fixed port, and where it is written."""
    at: Steps = ("services", service.spec.id)
    what = service.launch.what
    if not isinstance(what, ContainerSpec):
        if isinstance(what, ProcessSpec) and what.port is not None:
            yield _EVERYWHERE[0], what.port, "tcp", (*at, "process", "port")
        return
    for index, port in enumerate(what.ports):
        yield port.host_ip, port.host, port.protocol, (*at, "container", "ports", index)
    if what.network_mode == "host":
        yield _EVERYWHERE[0], what.port, "tcp", (*at, "container", "port")
