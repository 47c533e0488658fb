"""Why the proxy did what it did: the last decisions of the core, for people and programs."""

from ._decision import Candidate as Candidate
from ._decision import Decision as Decision
from ._decision import Kind as Kind
from ._decision import Room as Room
from ._ring import DECISIONS_MAX as DECISIONS_MAX
from ._ring import Decisions as Decisions
from ._words import needs as needs
