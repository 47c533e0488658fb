"""A simulated machine around the core, which keeps its own books and trusts nothing it is told."""

from ._books import Client as Client
from ._books import Run as Run
from ._books import Stage as Stage
from ._configs import another_config as another_config
from ._configs import random_config as random_config
from ._offline import least_load_s as least_load_s
from ._promises import Broken as Broken
from ._simulate import Machine as Machine
from ._simulate import simulate as simulate
from ._walk import walk as walk
from .report import Report as Report
from .traffic import Request as Request
from .traffic import Session as Session
from .traffic import TraceError as TraceError
from .traffic import Traffic as Traffic
from .traffic import drawn_traffic as drawn_traffic
from .traffic import journal_traffic as journal_traffic
from .traffic import read_trace as read_trace
from .world import World as World
