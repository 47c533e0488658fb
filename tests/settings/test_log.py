"""`server.log`: where lines go, checked before anything starts."""

from pathlib import Path

import pytest

from proxyserver._log_place import LogPlace, check_log_file
from proxyserver.settings import SettingsError
from proxyserver.telemetry._log_file import LogFile

from .writing import Folder


def test_a_file_starts_at_the_folder_of_the_configuration(folder: Folder) -> None:
    """It is made with its folder, and what it says already stays."""
    settings = folder.load(
        "server: {log: {level: DEBUG, file: logs/x.log, file_max: 1MiB, files_kept: 2}}\n"
        "services: {}"
    )
    path = folder.path / "logs" / "x.log"
    assert LogPlace.of(settings.server) == LogPlace("DEBUG", "text", LogFile(path, 1 << 20, 2))
    check_log_file(settings)
    path.write_text("a line")
    check_log_file(settings)
    assert path.read_text() == "a line"


@pytest.mark.parametrize("file", ["taken/x.log", "."])
def test_a_file_that_cannot_be_written_to(folder: Folder, file: str) -> None:
    """The error has its place in the configuration, the path, and what would help."""
    (folder.path / "taken").touch()
    settings = folder.load(f"server:\n  log:\n    file: {file}\nservices: {{}}")
    with pytest.raises(SettingsError) as caught:
        check_log_file(settings)
    [problem] = caught.value.problems
    assert str(problem).startswith(f"{folder.path}/")
    assert ":3:" in str(problem)
    assert f"{folder.path / Path(file)}: " in problem.message
    assert "leave it out" in problem.message
