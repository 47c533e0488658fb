"""What people and collectors see of the daemon: log lines and numbers."""

from .facts import log_fact as log_fact
from .facts import log_request as log_request
from .logs import configure_logs as configure_logs
from .telemetry import Telemetry as Telemetry
from .usage import UsageStore as UsageStore
