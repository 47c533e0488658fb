"""Gauges: how much memory there is, how much of it is free, and who holds the rest."""

from ._poll import SLOW_S as SLOW_S
from ._poll import STALE_S as STALE_S
from ._poll import Gauges as Gauges
from ._poll import Health as Health
from ._protocol import Fault as Fault
from ._protocol import Gauge as Gauge
from ._protocol import GaugeFault as GaugeFault
from ._protocol import Measurement as Measurement
from ._protocol import Vitals as Vitals
from ._report import Report as Report
