"""A simulated machine around the core, which keeps its own books and trusts nothing it is told."""

from ._books import Client as Client
from ._books import Run as Run
from ._books import Stage as Stage
from ._promises import Broken as Broken
from ._walk import random_config as random_config
from ._walk import walk as walk
from .world import World as World
