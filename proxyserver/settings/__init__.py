"""The configuration: one YAML file to specifications, with every error told by line and column."""

from ._changes import Changes as Changes
from ._changes import kept as kept
from ._errors import Problem as Problem
from ._errors import SettingsError as SettingsError
from ._load import load as load
from ._models import idle_s as idle_s
from ._schedules import Schedule as Schedule
from ._settings import NEEDS_KEYS as NEEDS_KEYS
from ._settings import ServerSettings as ServerSettings
from ._settings import Service as Service
from ._settings import Settings as Settings
from ._settings import Tls as Tls
from ._settings import usual_state_dir as usual_state_dir
from ._shapes import is_name as is_name
from ._sources import Look as Look
from ._sources import Sources as Sources
