"""How each key of the configuration comes into force when it is changed while the daemon runs.

Whoever adds a key says here how it applies; a test holds this against the keys that there are, and
another against the table of the reference.
"""

import enum
from collections.abc import Mapping


class Applies(enum.Enum):
    """How a change of a key comes into force."""

    AT_ONCE = "at once"
    NEXT_START = "at the next start"
    """A run that lives goes on as it is."""
    RUN = "restarts the service"
    """A run that lives drains, and the next one is started by it."""
    DAEMON = "restart of the daemon"


SERVER: Mapping[str, Applies] = {
    "host": Applies.DAEMON,
    "port": Applies.DAEMON,
    "tls": Applies.DAEMON,
    "socket": Applies.DAEMON,
    "socket_mode": Applies.DAEMON,
    "keys": Applies.AT_ONCE,
    "allow_without_keys": Applies.AT_ONCE,
    "hosts": Applies.AT_ONCE,
    "cors": Applies.AT_ONCE,
    "state_dir": Applies.DAEMON,
    "devices": Applies.AT_ONCE,
    "ram": Applies.AT_ONCE,
    "headroom": Applies.AT_ONCE,
    "wait_s": Applies.AT_ONCE,
    "start_s": Applies.AT_ONCE,
    "start_max_s": Applies.AT_ONCE,
    "idle_s": Applies.AT_ONCE,
    "drain_s": Applies.AT_ONCE,
    "drain_cuts": Applies.AT_ONCE,
    "grace_s": Applies.AT_ONCE,
    "queue_max": Applies.AT_ONCE,
    "on_shutdown": Applies.AT_ONCE,
    "shutdown_s": Applies.AT_ONCE,
    "log": Applies.AT_ONCE,
    "docker": Applies.DAEMON,
    "runtime": Applies.RUN,
    "pull": Applies.AT_ONCE,
    "body_max": Applies.AT_ONCE,
    "spill_max": Applies.AT_ONCE,
    "spill_total": Applies.AT_ONCE,
    "spill_dir": Applies.AT_ONCE,
    "forwarded": Applies.AT_ONCE,
    "via": Applies.AT_ONCE,
    "first_byte_s": Applies.AT_ONCE,
    "stall_s": Applies.AT_ONCE,
    "total_s": Applies.AT_ONCE,
    "stream_after_s": Applies.AT_ONCE,
    "stream_every_s": Applies.AT_ONCE,
    "stream_progress": Applies.AT_ONCE,
    "default_model": Applies.AT_ONCE,
    "preload": Applies.AT_ONCE,
    "profiles": Applies.AT_ONCE,
    "schedules": Applies.AT_ONCE,
    "journal": Applies.DAEMON,
    "usage_days": Applies.DAEMON,
    "policy": Applies.AT_ONCE,
}
"""By the keys of `server:`."""

SERVICE: Mapping[str, Applies] = {
    "type": Applies.RUN,
    "runtime": Applies.RUN,
    "container": Applies.RUN,
    "process": Applies.RUN,
    "external": Applies.RUN,
    "pull": Applies.AT_ONCE,
    "stream_progress": Applies.AT_ONCE,
    "memory": Applies.AT_ONCE,
    "load_s": Applies.AT_ONCE,
    "aliases": Applies.AT_ONCE,
    "concurrency": Applies.AT_ONCE,
    "priority": Applies.AT_ONCE,
    "pinned": Applies.AT_ONCE,
    "wait_s": Applies.AT_ONCE,
    "start_s": Applies.AT_ONCE,
    "start_max_s": Applies.AT_ONCE,
    "idle_s": Applies.AT_ONCE,
    "drain_s": Applies.AT_ONCE,
    "drain_cuts": Applies.AT_ONCE,
    "grace_s": Applies.AT_ONCE,
    "queue_max": Applies.AT_ONCE,
    "requests": Applies.AT_ONCE,
    "ready": Applies.NEXT_START,
    "ready_line": Applies.NEXT_START,
    "live": Applies.NEXT_START,
    "sleep": Applies.NEXT_START,
    "wake": Applies.NEXT_START,
    "asleep": Applies.AT_ONCE,
    "wake_s": Applies.AT_ONCE,
    "metrics": Applies.AT_ONCE,
    "admin_paths": Applies.AT_ONCE,
    "allow_admin": Applies.AT_ONCE,
    "models": Applies.AT_ONCE,
    "models_max": Applies.AT_ONCE,
}
"""By the keys that all services have; the options of a type are as `process` or `container`."""
