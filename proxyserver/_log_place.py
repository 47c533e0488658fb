"""What the configuration wants of log lines, and whether it can be."""

from fnmatch import fnmatchcase

import attrs

from .settings import ServerSettings, Service, Settings, SettingsError
from .telemetry import configure_logs
from .telemetry._log_file import LogFile, LogWriter
from .telemetry.logs import LogFormat


@attrs.frozen
class LogPlace:
    """What `server.log` says of lines."""

    level: str
    form: LogFormat
    file: LogFile | None

    @classmethod
    def of(cls, server: ServerSettings) -> "LogPlace":
        path = server.log_file
        file = None
        if path is not None:
            file = LogFile(path, server.log_file_max, server.log_files_kept)
        return cls(server.log_level, server.log_format, file)

    def configure(self) -> None:
        """Send lines there from now on."""
        configure_logs(self.level, self.form, file=self.file)


def is_output_wanted(server: ServerSettings, service: Service) -> bool:
    """Tell whether the output of a service is to be sent; that of a model is its server's."""
    name, patterns = service.spec.id, server.log_services
    return service.spec.host is None and any(fnmatchcase(name, one) for one in patterns)


def check_log_file(settings: Settings) -> None:
    """Make the file for log lines, and its folder, unless they are there.

    Raises:
        SettingsError: it cannot be written to.
    """
    file = LogPlace.of(settings.server).file
    if file is None:
        return
    try:
        LogWriter(file, tell=str).close()
    except OSError as error:
        said = (
            f"{file.path}: {error.strerror}: name a file that the user of the daemon may write to,"
            " or leave it out, then lines go to standard error alone"
        )
        raise SettingsError([settings.problem(("server", "log", "file"), said)]) from None
