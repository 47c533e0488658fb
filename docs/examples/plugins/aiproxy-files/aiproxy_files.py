"""A template for Python's own web server, which shows a folder."""

import sys

import attrs

from proxyserver.runtime import FailurePattern, LiveProbe, Probe, ProcessSpec
from proxyserver.shapes import HostPath
from proxyserver.templates import Draft


@attrs.frozen
class FilesOptions:
    """The keys that a service of the type `files` may have; without a default, one is required."""

    folder: HostPath
    cgi: bool = False


class Files:
    """The entry point names this class; it is made without arguments."""

    name = "files"
    options = FilesOptions

    def draft(self, options: FilesOptions) -> Draft:
        """Make a proposal; a ValueError is told to the user with the place of the service."""
        if options.folder == "/":
            raise ValueError("the whole disk is too much for a `folder`")
        more = ("--cgi",) if options.cgi else ()
        return Draft(
            container=None,
            process=ProcessSpec(
                # The proxy puts the port in; it must listen on loopback only.
                command=(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", *more,
                         "--directory", options.folder, "${PORT}"),
            ),
            ready=Probe("/", 200),
            live=LiveProbe("/", 200),
            failures=(
                FailurePattern(
                    "old_python", "unrecognized arguments: --cgi", heals=False, advice="Drop `cgi`."
                ),
            ),
            load_s=0.5,
        )  # fmt: skip
