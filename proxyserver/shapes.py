"""Types of the values that users write: what settings read, and what templates ask for.

Each is a plain Python type with a tag, by which the settings know how to read and check it.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

Size: TypeAlias = Annotated[int, "size"]
"""Bytes; written as 24GiB, 512 MiB or a plain number."""
Seconds: TypeAlias = Annotated[float, "seconds"]
"""A duration of more than 0; written in seconds or as 500ms, 30s, 5m, 2h."""
IdleTime: TypeAlias = Seconds | Literal["auto", "never"]
Count: TypeAlias = Annotated[int, "count"]
"""A whole number of at least 1."""
Natural: TypeAlias = Annotated[int, "natural"]
"""A whole number of at least 0."""
Share: TypeAlias = Annotated[float, "share"]
"""A part of a whole: more than 0, at most 1."""
Port: TypeAlias = Annotated[int, "port"]
PortOrAny: TypeAlias = Annotated[int, "port or any"]
"""A port; 0 is any free one."""
Name: TypeAlias = Annotated[str, "name"]
"""An id that fits into a URL and into a container's name."""
Alias: TypeAlias = Annotated[str, "alias"]
"""What clients call a model; hubs use capitals and slashes."""
Mode: TypeAlias = Annotated[int, "mode"]
"""Who may do what with a file: three octal digits, such as 660."""
Word: TypeAlias = Annotated[str, "word"]
"""A text; a number stands for the text that it was written with."""
Regex: TypeAlias = Annotated[str, "regex"]
Json: TypeAlias = Annotated[str, "json"]
"""JSON as text; written as YAML."""
JsonValues: TypeAlias = Annotated[Mapping[str, str], "json values"]
"""A mapping of names to anything that JSON can say; read as JSON texts."""
HeaderName: TypeAlias = Annotated[str, "header name"]
"""In lower case; none of those that the proxy itself writes."""
Headers: TypeAlias = Annotated[Mapping[str, str], "headers"]
"""A mapping of `HeaderName`s to texts."""
AdminPath: TypeAlias = Annotated[str, "admin path"]
"""A pattern of `proxyserver.admin_paths`, such as `POST /api/pull`."""
HostPath: TypeAlias = Annotated[str, "path"]
"""A path on this machine, made absolute; it starts at the folder of the configuration."""
ExistingFile: TypeAlias = Annotated[str, "file"]
"""A `HostPath` of a file that is there."""
ExistingFolder: TypeAlias = Annotated[str, "folder"]
"""A `HostPath` of a folder that is there."""
Model: TypeAlias = Annotated[str, "model"]
"""A name at the model hub (`Qwen/Qwen3-8B`), or a path that is there (`./models/mine`), made
absolute: so what starts with a slash is a path."""
Models: TypeAlias = Annotated[tuple[str, ...], "models"]
"""One `Model`, or a list of at least one."""
ListenHost: TypeAlias = Annotated[str, "listen host"]
"""An address or a name of this machine."""
OwnHost: TypeAlias = Annotated[str, "own host"]
"""A name by which clients reach the proxy; `*.example.org` is all below, `*` is any."""
Hours: TypeAlias = Annotated[str, "hours of a day"]
Timezone: TypeAlias = Annotated[str, "time zone"]
Origin: TypeAlias = Annotated[str, "origin"]
"""`https://chat.example.org`: the start of the addresses of a site's pages."""
KeyHash: TypeAlias = Annotated[str, "key hash"]
"""`sha256:` and 64 hexadecimal digits, as `aiproxy keys new` prints it."""
Command: TypeAlias = Annotated[tuple[str, ...], "command"]
"""A list of words, or one string that is split as a shell does."""
Environment: TypeAlias = Annotated[Mapping[str, str], "environment"]
"""A mapping or a list of NAME=value, as in compose; a bare NAME takes the daemon's own value."""
ExtraHosts: TypeAlias = Annotated[tuple[tuple[str, str], ...], "hosts"]
"""A mapping or a list of name:address, as in compose."""
EnvironmentFiles: TypeAlias = Annotated[Mapping[str, str], "environment files"]
"""One path or a list of them; what the files say, the later ones winning."""
Url: TypeAlias = Annotated[str, "url"]
"""`http://` or `https://`, a host, perhaps a port and a path."""
Processors: TypeAlias = Annotated[float, "processors"]
"""How many processors; a number, or a text with one, as in compose."""
Texts: TypeAlias = Annotated[tuple[str, ...], "texts"]
"""One text, or a list of them, as in compose."""
Pairs: TypeAlias = Annotated[tuple[tuple[str, str], ...], "pairs"]
"""A mapping or a list of name=value, as in compose."""
Probing: TypeAlias = Annotated[tuple[str, ...], "probing"]
"""A health check's command: a text for a shell, or a list that begins with CMD or CMD-SHELL."""
Gpus: TypeAlias = Annotated[bool, "gpus"]
"""`all`, true, false or a count: whether GPUs are wanted; which ones is up to the placement."""
CacheType: TypeAlias = Literal[
    "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"
]
"""How llama.cpp can keep the keys and values of its cache."""
