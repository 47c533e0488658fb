"""What other packages offer: the examples of the documents, installed and run; and broken ones."""

import json
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import new_daemon as new_daemon
from tests.daemon.rig import Daemon
from tests.house.tree import ROOT

from .daemon import aiproxy

pytestmark = pytest.mark.slow  # Each starts a Python of its own.
EXAMPLES = ROOT / "docs/examples/plugins"
Group = dict[str, str]

BROKEN = """
import attrs

@attrs.frozen
class Options:
    memory: int = 1

class Reserved:
    options = Options
    draft = None

class NoDraft:
    options = attrs.make_class("Options", [])

class Taken(NoDraft):
    options = Options
    def draft(self, options): ...

class NoOptions:
    def draft(self, options): ...

class Raises(NoDraft):
    def draft(self, options):
        raise RuntimeError("not today")

class Nothing(NoDraft):
    def draft(self, options):
        return None

class Odd(Raises):
    @attrs.frozen
    class options:
        key: complex
"""


def written(target: Path, name: str, version: str, groups: dict[str, Group]) -> None:
    """Write what an installer writes of a package, so that its entry points are found."""
    info = target / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def installed(target: Path, *names: str) -> str:
    """Install examples without an index; return what PYTHONPATH must be."""
    for name in names:
        project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text())["project"]
        for module in (EXAMPLES / name).glob("*.py"):
            shutil.copy(module, target)
        written(target, project["name"], project["version"], project["entry-points"])
    return os.pathsep.join((str(target), str(ROOT)))


def listed(path: str) -> dict[tuple[str, str], dict[str, Any]]:
    done = aiproxy("plugins", "--json", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["name"]): one for one in json.loads(done.stdout)}


def test_examples_are_listed(tmp_path: Path) -> None:
    """With package and version, after those that come with the proxy."""
    found = listed(installed(tmp_path, "aiproxy-files", "aiproxy-oldest"))
    for kind, name, origin in (
        ("template", "files", "aiproxy-files"),
        ("policy", "cost_over_age", "aiproxy-oldest"),
    ):
        assert found[kind, name] == {
            "kind": kind, "name": name, "origin": origin, "version": "1.0", "fault": None
        }  # fmt: skip
    assert found["template", "llamacpp"]["origin"] == "built-in"
    assert found["policy", "cost_rate"]["origin"] == "built-in"


def test_a_service_of_the_example_runs(tmp_path: Path, new_daemon: Callable[..., Daemon]) -> None:
    """Under the policy of the other example."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.txt").write_text("words")
    target = tmp_path / "site"
    target.mkdir()
    path = installed(target, "aiproxy-files", "aiproxy-oldest")
    papers = {"type": "files", "folder": str(tmp_path / "papers"), "runtime": "process"}
    daemon = new_daemon(
        {"papers": papers}, environment={"PYTHONPATH": path}, policy="cost_over_age"
    )
    assert daemon.get("/service/papers/a.txt").text == "words"
    assert daemon.service("papers")["type"] == "files"


def test_options_of_a_plug_in_are_checked(tmp_path: Path) -> None:
    """As those of the shipped ones, by line and column."""
    path = installed(tmp_path, "aiproxy-files")
    file = tmp_path / "c.yaml"
    for keys, said in (
        ("foldr: /x", "services.a.foldr: unknown key; did you mean 'folder'?"),
        ("folder: /", "services.a: the whole disk is too much"),
        ("cgi: 1, folder: /x", "services.a.cgi: expected true or false"),
    ):
        file.write_text(f"services:\n  a: {{type: files, runtime: process, {keys}}}\n")
        done = aiproxy("config", "check", str(file), PYTHONPATH=path)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_what_is_broken_is_said_and_left_out(tmp_path: Path) -> None:
    """In the list, and where somebody uses it; the rest works."""
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "worse.py").write_text("1 / 0")
    templates = {
        "absent": "broken:Absent", "no-module": "nowhere:X", "crashing": "worse:X",
        "no-options": "broken:NoOptions", "no-draft": "broken:NoDraft", "taken": "broken:Taken",
        "llamacpp": "broken:Raises", "raises": "broken:Raises", "nothing": "broken:Nothing",
        "odd": "broken:Odd",
    }  # fmt: skip
    groups = {"aiproxy.templates": templates, "aiproxy.policies": {"bad": "broken:NoDraft"}}
    written(tmp_path, "their-things", "2.3", groups)
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    found = {name: one["fault"] for (_, name), one in listed(path).items()}
    assert {name: found[name] for name in ("raises", "nothing", "odd", "custom")} == {
        "raises": None, "nothing": None, "odd": None, "custom": None
    }  # fmt: skip
    for name, said in (
        ("absent", "AttributeError"), ("no-module", "ModuleNotFoundError"),
        ("crashing", "ZeroDivisionError"), ("no-options", "no attrs class `options`"),
        ("no-draft", "no method `draft`"), ("taken", "its option 'memory' is a key that every"),
        ("llamacpp", "a built-in one has this name"), ("bad", "has no method `value`"),
    ):  # fmt: skip
        assert said in (found[name] or ""), name
    services = {"a": "taken", "b": "raises", "c": "nothing", "d": "custom", "e": "odd"}
    lines = [
        f"  {name}: {{type: {type_}, process: {{command: [sh]}}{', key: 1' * (name == 'e')}}}"
        for name, type_ in services.items()
    ]
    file = tmp_path / "c.yaml"
    file.write_text("\n".join(("services:", *lines)) + "\n")
    done = aiproxy("config", "check", str(file), PYTHONPATH=path)
    told = [line.removeprefix(f"{file}:") for line in done.stderr.splitlines()]
    assert [line[:40] for line in told] == [
        line[:40] for line in (
            "2:13: services.a.type: cannot be used: their-things: its option 'memory'",
            "3:3: services.b: the template 'raises' failed: RuntimeError",
            "4:3: services.c: the template 'nothing' returned no Draft",
            "6:3: services.e: the options of this type cannot be read",
        )
    ]  # fmt: skip
