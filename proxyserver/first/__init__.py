"""The first configuration of a machine: what is here, and a file that makes use of it."""

from ._survey import Found as Found
from ._survey import Model as Model
from ._survey import Survey as Survey
from ._survey import models_in as models_in
from ._survey import survey as survey
from ._survey import usual_folders as usual_folders
from ._write import written as written
