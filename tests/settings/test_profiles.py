"""What is kept running has to be there."""

from .writing import Folder

SERVICES = """
    services:
      coder:
        external: {url: "http://127.0.0.1:9"}
"""


def test_profiles_and_preload_are_read(folder: Folder) -> None:
    """By the ids of services; a profile may have none."""
    said = "    server: {preload: [coder], profiles: {day: [coder], night: []}}"
    server = folder.load(said + SERVICES).server
    assert server.preload == ("coder",)
    assert server.profiles == {"day": ("coder",), "night": ()}


def test_who_is_not_there_cannot_be_kept_running(folder: Folder) -> None:
    """Each is told at its place; and `none` is no name for a profile."""
    said = "    server: {preload: [codre], profiles: {day: [coder, chat], none: []}}"
    assert folder.problems(said + SERVICES) == [
        "1:20: server.preload[0]: there is no service 'codre'; did you mean 'coder'?",
        "1:52: server.profiles.day[1]: there is no service 'chat'",
        "1:59: server.profiles.none: that name means that no profile is in force",
    ]
