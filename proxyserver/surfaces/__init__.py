"""The paths by which clients ask for a model, in the words of each API that they know."""

from ._errors import Shape as Shape
from ._errors import error_body as error_body
from ._errors import error_event as error_event
from ._errors import stream_end as stream_end
from ._paths import ANY as ANY
from ._paths import PATHS as PATHS
from ._paths import SURFACES as SURFACES
from ._paths import Surface as Surface
from ._paths import operation_of as operation_of
from ._paths import shape_of as shape_of
from ._paths import streams_events as streams_events
from ._paths import surface_of as surface_of
from ._query import ModelParameter as ModelParameter
from ._query import model_parameter as model_parameter
