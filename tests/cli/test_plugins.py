"""What other packages offer: the examples of the documents, installed and run; and broken ones."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import new_daemon as new_daemon
from tests.daemon.rig import PATIENCE_S, Daemon
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
    """Install examples as a user would, without an index; return what PYTHONPATH must be."""
    uv = os.environ.get("AIPROXY_UV") or str(ROOT / ".uv/bin/uv")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:  # A build may leave things beside its source.
            source = Path(folder) / name
            shutil.copytree(EXAMPLES / name, source)
            options = ("--offline", "--no-deps", "--no-build-isolation", "--python", sys.executable)
            command = [uv, "pip", "install", "-q", *options, "--target", str(target), str(source)]
            subprocess.run(command, check=True)
    return os.pathsep.join((str(target), str(ROOT)))


def listed(path: str) -> dict[tuple[str, str], dict[str, Any]]:
    done = aiproxy("plugins", "--json", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["name"]): one for one in json.loads(done.stdout)}


def test_examples_are_listed(tmp_path: Path) -> None:
    """With package and version, after those that come with the proxy."""
    found = listed(installed(tmp_path, "aiproxy-files", "aiproxy-oldest", "aiproxy-wrapped"))
    for kind, name, origin in (
        ("runtime", "wrapped", "aiproxy-wrapped"),
        ("template", "files", "aiproxy-files"),
        ("policy", "cost_over_age", "aiproxy-oldest"),
    ):
        assert found[kind, name] == {
            "kind": kind, "name": name, "origin": origin, "version": "1.0", "fault": None
        }  # fmt: skip
    assert found["template", "llamacpp"]["origin"] == "built-in"
    assert found["policy", "cost_rate"]["origin"] == "built-in"
    assert found["runtime", "docker"]["origin"] == "built-in"


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


def test_the_policy_of_the_example_decides(tmp_path: Path) -> None:
    """On a trace, as its page says, beside one of ours."""
    path = installed(tmp_path, "aiproxy-oldest")
    trace = tmp_path / "trace.csv"
    rows = [f"{second},{'abcd'[second // 7 % 4]},1" for second in range(0, 700, 7)]
    trace.write_text("\n".join(("t_s,service,dur_s", *rows)) + "\n")
    policies = ("cost_over_age", "cost_rate")
    done = aiproxy(
        "simulate", str(trace), "--policy", ",".join(policies), "--json", PYTHONPATH=path
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(row["policy"], row["requests"]) for row in told] == [(one, 100) for one in policies]
    assert done.stderr == ""


def wrapped_services(folder: Path) -> dict[str, Any]:
    """Return two services of which one runs in the runtime of the example."""
    process = {"command": [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "${PORT}"]}
    inside = {
        "runtime": "wrapped",
        "process": process | {"working_dir": str(folder)},
        "wrapped": {"by": "nice -n 7"},
    }
    return {"inside": inside, "outside": {"process": process}}


def test_a_service_runs_in_the_runtime_of_the_example(
    tmp_path: Path, new_daemon: Callable[..., Daemon]
) -> None:
    """Beside one of another runtime; a later life of the daemon finds it, and it alone."""
    (tmp_path / "a.txt").write_text("words")
    target = tmp_path / "site"
    target.mkdir()
    environment = {"PYTHONPATH": installed(target, "aiproxy-wrapped")}
    daemon = new_daemon(wrapped_services(tmp_path), environment=environment, on_shutdown="leave")
    assert daemon.get("/service/inside/a.txt").text == "words"
    assert daemon.get("/service/outside/").status_code == 200
    assert daemon.service("inside")["runtime"] == "wrapped"
    runs = [daemon.get(f"/api/v1/container/{name}").json() for name in ("inside", "outside")]
    assert [os.getpriority(os.PRIO_PROCESS, run["pid"]) - os.nice(0) for run in runs] == [7, 0]
    daemon.stop()
    daemon.start()
    again = [daemon.get(f"/api/v1/container/{name}").json() for name in ("inside", "outside")]
    assert [run["pid"] for run in again] == [run["pid"] for run in runs]
    # What is said to the runtime belongs to the configuration of a run.
    daemon.stop()
    daemon.configuration["services"]["inside"]["wrapped"]["by"] = "nice -n 8"
    daemon.start()
    assert "removing inside run" in daemon.log
    assert daemon.get("/service/inside/a.txt").text == "words"
    # What a plug-in left is ended when nobody uses it any more.
    daemon.stop()
    del daemon.configuration["services"]["inside"]
    daemon.start()
    assert "removing inside run" in daemon.log
    assert "removing outside run" not in daemon.log
    assert list((daemon.folder / "state/plugins/wrapped/processes").glob("*.json")) == []


def test_the_runtime_of_the_example_keeps_the_contract(tmp_path: Path) -> None:
    """Its own test says so, run as its author would."""
    path = installed(tmp_path, "aiproxy-wrapped")
    shutil.copy(EXAMPLES / "aiproxy-wrapped/test_aiproxy_wrapped.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_aiproxy_wrapped.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, "20 passed" in done.stdout) == (0, True), done.stdout


def test_what_a_service_says_to_a_runtime_is_checked(tmp_path: Path) -> None:
    """By line and column, with near names."""
    path = installed(tmp_path, "aiproxy-wrapped")
    file = tmp_path / "c.yaml"
    for keys, said in (
        ("runtime: wraped, process: {command: sh}",
         "external, wrapped); did you mean 'wrapped'?"),
        ("runtime: wrapped, process: {command: sh}, wrapped: {byy: nice}",
         "services.a.wrapped.byy: unknown key; did you mean 'by'?"),
        ("runtime: wrapped, process: {command: sh}", "services.a.wrapped.by: is missing"),
        ("runtime: wrapped, wrapped: {by: nice}, container: {image: 'a:1', port: 1}",
         "services.a.container: wrapped runs what is under `process`"),
        ("runtime: process, process: {command: sh}, wrapped: {by: nice}",
         "services.a.wrapped: unknown key"),
    ):  # fmt: skip
        file.write_text(f"services:\n  a: {{{keys}}}\n")
        done = aiproxy("config", "check", str(file), PYTHONPATH=path)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr


BROKEN_RUNTIMES = """
import attrs

@attrs.frozen
class Options:
    key: int = 1

class NoOptions:
    takes = "process"
    def make(self, place): ...

class Takes(NoOptions):
    options = Options
    takes = "tea"

class NoMake:
    options = Options
    takes = "process"

class Raises(NoOptions):
    options = Options
    def make(self, place):
        raise RuntimeError("not today")

class Odd(Raises):
    @attrs.frozen
    class options:
        key: complex
"""


def test_a_broken_runtime_is_said_and_left_out(
    tmp_path: Path, new_daemon: Callable[..., Daemon]
) -> None:
    """In the list, where somebody uses it, and to who asks its service; the daemon lives."""
    target = tmp_path / "site"
    target.mkdir()
    (target / "broken_runtimes.py").write_text(BROKEN_RUNTIMES)
    points = {
        "absent": "Absent", "no-options": "NoOptions", "takes": "Takes", "no-make": "NoMake",
        "docker": "Raises", "memory": "Raises", "Large": "Raises", "raises": "Raises",
        "odd": "Odd",
    }  # fmt: skip
    group = {name: f"broken_runtimes:{value}" for name, value in points.items()}
    written(target, "their-runtimes", "2.3", {"aiproxy.runtimes": group})
    path = os.pathsep.join((str(target), str(ROOT)))
    there = listed(path)
    for name, said in (
        ("absent", "AttributeError"), ("no-options", "no attrs class `options`"),
        ("takes", "neither 'container' nor 'process'"), ("no-make", "no method `make`"),
        ("memory", "is a key that every service has"), ("Large", "small letters"),
    ):  # fmt: skip
        assert said in there["runtime", name]["fault"], name
    faults = [there["runtime", name]["fault"] for name in ("raises", "odd")]
    assert faults == [None, None]
    process = "process: {command: sh}"
    file = tmp_path / "c.yaml"
    file.write_text(
        f"services:\n  a: {{runtime: takes, {process}}}\n"
        f"  b: {{runtime: odd, {process}, odd: {{key: 1}}}}\n"
    )
    done = aiproxy("config", "check", str(file), PYTHONPATH=path)
    told = [line.removeprefix(f"{file}:") for line in done.stderr.splitlines()]
    assert [line[:58] for line in told] == [
        line[:58] for line in (
            "2:16: services.a.runtime: cannot be used: their-runtimes: broken_runtimes:Takes",
            "3:16: services.b.runtime: the options of this runtime cannot be read",
        )
    ]  # fmt: skip
    services = wrapped_services(tmp_path)
    services["inside"] |= {"runtime": "raises", "wrapped": {}}
    del services["inside"]["wrapped"]
    daemon = new_daemon(services, environment={"PYTHONPATH": path})
    refused = daemon.get("/service/inside/")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "runtime_unavailable")
    assert "'raises' is broken: it cannot be made" in refused.json()["error"]["message"]
    assert daemon.get("/service/outside/").status_code == 200
    assert "not today" in daemon.command("status").stdout
    # Without the package, what it may have left is told of at the next start.
    daemon.stop()
    shutil.rmtree(target / "their_runtimes-2.3.dist-info")
    del daemon.configuration["services"]["inside"]
    daemon.start()
    assert "raises, unused now, may still run services" in daemon.log


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


def test_the_schema_knows_what_packages_offer(tmp_path: Path) -> None:
    """A type with its options, and what a service says to a runtime."""
    path = installed(tmp_path, "aiproxy-files", "aiproxy-wrapped")
    known = json.loads(aiproxy("config", "schema", PYTHONPATH=path).stdout)["$defs"]
    assert {"folder", "cgi"} <= known["service of type files"]["properties"].keys()
    assert "wrapped" in known["service of type custom"]["properties"]


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
