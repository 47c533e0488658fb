"""The contract of runtimes, as checks that whoever writes one can run."""

from ._bench import ALPHA as ALPHA
from ._bench import BETA as BETA
from ._bench import KIND as KIND
from ._bench import PATIENCE_S as PATIENCE_S
from ._bench import PLACEMENT as PLACEMENT
from ._bench import Behaviour as Behaviour
from ._bench import Bench as Bench
from ._bench import ProcessBench as ProcessBench
from ._bench import ServerBench as ServerBench
from ._bench import cleaned as cleaned
from ._bench import environment_of as environment_of
from ._checks import CHECKS as CHECKS
from ._checks import Check as Check
from ._checks import check_name as check_name
from ._checks import eventually as eventually
from ._checks import run_check as run_check
from ._checks import start as start
