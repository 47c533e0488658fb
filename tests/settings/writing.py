"""Writing a configuration for a test and reading it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import attrs
import pytest

from proxycore import DeviceId
from proxyserver.settings import Settings, SettingsError, load

from .schemas import complaint

ENVIRON = {"HOME": "/home/tester", "PATH": "/usr/bin:/bin"}


def no_gpus() -> Mapping[DeviceId, int]:
    """Be a machine without GPUs, whatever the one that runs the tests has."""
    return {}


@attrs.frozen
class Folder:
    """A folder with a configuration in it."""

    path: Path
    find_gpus: Callable[[], Mapping[DeviceId, int]] = no_gpus

    @property
    def file(self) -> Path:
        return self.path / "aiproxy.yaml"

    def model(self, name: str = "x.gguf", size: int = 0) -> Path:
        """Put a file of that name there."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
        return path

    def load(self, text: str, environ: Mapping[str, str] = ENVIRON) -> Settings:
        self.file.write_text(dedent(text))
        settings = load(self.file, environ, find_gpus=self.find_gpus)
        # Whatever is good for the reader is good in an editor.
        assert complaint(dedent(text)) is None
        return settings

    def problems(self, text: str, environ: Mapping[str, str] = ENVIRON) -> list[str]:
        """Return what is said of a bad configuration, less the name of its file."""
        with pytest.raises(SettingsError) as caught:
            self.load(text, environ)
        return [str(problem).removeprefix(f"{self.file}:") for problem in caught.value.problems]
