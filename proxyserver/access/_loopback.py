"""Who can reach an address: this machine alone, or others too."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens there.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "gpu.lan")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
