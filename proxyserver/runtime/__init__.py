"""Runtimes: what starts, watches and ends runs."""

from ._exits import classify as classify
from ._logs import no_lines as no_lines
from ._protocol import Call as Call
from ._protocol import ContainerSpec as ContainerSpec
from ._protocol import Endpoint as Endpoint
from ._protocol import ExitReport as ExitReport
from ._protocol import FailurePattern as FailurePattern
from ._protocol import FoundProcess as FoundProcess
from ._protocol import Healthcheck as Healthcheck
from ._protocol import LaunchSpec as LaunchSpec
from ._protocol import LiveProbe as LiveProbe
from ._protocol import Mount as Mount
from ._protocol import PortBinding as PortBinding
from ._protocol import Probe as Probe
from ._protocol import ProcessSpec as ProcessSpec
from ._protocol import Progress as Progress
from ._protocol import PullProgress as PullProgress
from ._protocol import RunFacts as RunFacts
from ._protocol import Runtime as Runtime
from ._protocol import RuntimeFault as RuntimeFault
from ._protocol import RuntimeUnreachable as RuntimeUnreachable
from ._protocol import Ulimit as Ulimit
from ._state import instance_id as instance_id
from ._state import write_atomically as write_atomically
from .docker import DockerRuntime as DockerRuntime
from .process import ProcessRuntime as ProcessRuntime
