"""Who may use the proxy: keys, what they are for, and how much of it; pure."""

from ._keys import ADMIN as ADMIN
from ._keys import INFERENCE as INFERENCE
from ._keys import KEY_MAX as KEY_MAX
from ._keys import METRICS as METRICS
from ._keys import Key as Key
from ._keys import Keyring as Keyring
from ._keys import Role as Role
from ._keys import digest_of as digest_of
from ._keys import hashed as hashed
from ._keys import new_key as new_key
from ._keys import weakness as weakness
from ._limits import Allowance as Allowance
from ._limits import Shortage as Shortage
from ._loopback import is_loopback as is_loopback
