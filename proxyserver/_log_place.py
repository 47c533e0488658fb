"""Where the configuration wants log lines, and whether they can go there."""

import attrs

from .settings import ServerSettings, Settings, SettingsError
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
