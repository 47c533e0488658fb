"""The daemon without any telemetry, as if there were none: `python -m benchmarks._untold serve`."""

from collections.abc import Mapping

from proxycore import Fact
from proxyserver import app
from proxyserver.__main__ import main
from proxyserver.http import RequestRecord
from proxyserver.telemetry import Telemetry


class Untold(Telemetry):
    """Counts nothing."""

    def note(self, fact: Fact) -> None:
        """Do nothing."""

    def request(self, record: RequestRecord) -> None:
        """Do nothing."""

    def connect(self, environ: Mapping[str, str]) -> None:
        """Do nothing."""


if __name__ == "__main__":
    setattr(app, "Telemetry", Untold)  # noqa: B010  # so that it is the same daemon otherwise
    main()
