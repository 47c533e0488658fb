"""What a GGUF file says of its model, and what memory llama-server will take for it."""

from ._estimate import Estimate as Estimate
from ._estimate import NotModelled as NotModelled
from ._estimate import Setting as Setting
from ._estimate import Share as Share
from ._estimate import estimate as estimate
from ._files import check_files as check_files
from ._files import parts_of as parts_of
from ._files import read_model as read_model
from ._folder import Folder as Folder
from ._folder import FolderModel as FolderModel
from ._folder import gguf_files as gguf_files
from ._folder import models_in as models_in
from ._head import GgufError as GgufError
from ._head import Head as Head
from ._head import HeadIncomplete as HeadIncomplete
from ._head import parse_head as parse_head
from ._model import Model as Model
from ._model import model_of as model_of
from ._smaller import smaller as smaller
from ._types import BLOCKS as BLOCKS
