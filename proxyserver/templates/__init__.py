"""Templates: what is needed to start one kind of inference server, from a few typed options."""

from ._plugins import GROUP as GROUP
from ._plugins import BrokenTemplate as BrokenTemplate
from ._plugins import Templates as Templates
from ._plugins import WatchedTemplate as WatchedTemplate
from ._plugins import find_templates as find_templates
from ._plugins import load_template as load_template
from ._protocol import Asleep as Asleep
from ._protocol import Draft as Draft
from ._protocol import ModelServer as ModelServer
from ._protocol import ModelState as ModelState
from ._protocol import ModelStatus as ModelStatus
from ._protocol import Need as Need
from ._protocol import Registry as Registry
from ._protocol import Room as Room
from ._protocol import Template as Template
from ._registry import TEMPLATES as TEMPLATES
