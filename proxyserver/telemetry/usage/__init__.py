"""Statistics of use, by day: who asked what, what it took, and what services held meanwhile."""

from ._rows import BY as BY
from ._rows import Told as Told
from .collector import Collector as Collector
from .store import UsageStore as UsageStore
