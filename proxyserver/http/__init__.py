"""Everything that speaks HTTP: the data path, the management API, and the server below them."""

from ._exchange import Outcome as Outcome
from ._exchange import RequestRecord as RequestRecord
from ._places import ListenError as ListenError
from ._places import Place as Place
from ._places import TcpPlace as TcpPlace
from ._places import UnixPlace as UnixPlace
from .api import VERSION as VERSION
from .asgi import App as App
from .asgi import make_app as make_app
from .server import serve as serve
from .upstream import Patience as Patience
from .upstream import UpstreamConnections as UpstreamConnections
