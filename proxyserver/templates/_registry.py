"""The templates that come with the proxy, by the `type` that users write."""

from types import MappingProxyType

from ._protocol import Registry, Template
from .custom import Custom
from .engines import KOBOLDCPP, LMDEPLOY, OLLAMA, SGLANG, TEI
from .infinity import Infinity
from .llamacpp import LlamaCpp
from .llamacpp_router import LlamaCppRouter
from .media import COMFYUI, DOCLING, KOKORO, SDCPP, SPEACHES, WHISPERCPP
from .tabby import Tabby
from .vllm import Vllm


def _by_name(*templates: Template) -> Registry:
    return MappingProxyType({template.name: template for template in templates})


TEMPLATES: Registry = _by_name(
    Custom(),
    LlamaCpp(),
    LlamaCppRouter(),
    Infinity(),
    Tabby(),
    Vllm(),
    *(TEI, SGLANG, OLLAMA, LMDEPLOY, KOBOLDCPP),
    *(WHISPERCPP, SPEACHES, SDCPP, COMFYUI, KOKORO, DOCLING),
)
