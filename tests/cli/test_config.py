"""`config check`, and where a configuration is looked for."""

import json
from pathlib import Path

import pytest
import yaml

from tests.gguf.writing import dense, dense_tensors, words, write

from .daemon import aiproxy

pytestmark = pytest.mark.slow  # Each starts a Python of its own.

WRONG = "server:\n  prot: 1\nservices:\n  a:\n    process: {command: [sh]}\n    queue_max: x\n"
GOOD = "server: {ram: 8GiB}\nservices:\n  a:\n    process: {command: [sh]}\n"


def test_every_error_is_told(tmp_path: Path) -> None:
    """One line each on standard error, with file, line and column."""
    path = tmp_path / "c.yaml"
    path.write_text(WRONG)
    done = aiproxy("config", "check", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    places = [line.split(": ")[0] for line in done.stderr.splitlines()]
    assert places == [f"{path}:2:3", f"{path}:6:16"]


def test_errors_for_programs(tmp_path: Path) -> None:
    """`--json` has the same, in parts."""
    path = tmp_path / "c.yaml"
    path.write_text(WRONG)
    done = aiproxy("config", "check", "--json", str(path))
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    assert [one["path"] for one in told["problems"]] == ["server.prot", "services.a.queue_max"]


def test_good(tmp_path: Path) -> None:
    """One line says what was found, in the folder for configurations too."""
    path = tmp_path / "aiproxy" / "aiproxy.yaml"
    path.parent.mkdir()
    path.write_text(GOOD)
    done = aiproxy("config", "check", XDG_CONFIG_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: good; services: a (process); devices: ram 8 GiB\n"


def test_remarks(tmp_path: Path) -> None:
    """What is no error, but should be known, comes after the good news."""
    write(tmp_path / "x.gguf", dense(2) | words(), dense_tensors(2))
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "  b: {type: llamacpp, runtime: process, binary: sh, model: x.gguf}\n")
    done = aiproxy("config", "check", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{path}: good; ")
    assert second.startswith(f"{path}:5:3: services.b.memory: none is declared; claims ")
    told = json.loads(aiproxy("config", "check", "--json", str(path)).stdout)
    assert [f"{one['path']}: {one['message']}" for one in told["remarks"]] == [
        second.split(": ", 1)[1]
    ]


@pytest.mark.parametrize("command", [["serve"], ["pull"], ["config", "check"]])
def test_no_configuration(tmp_path: Path, command: list[str]) -> None:
    """It says where it has looked."""
    done = aiproxy(*command, XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr


def test_pull_of_a_process(tmp_path: Path) -> None:
    """A process has no image: said at once, without an engine."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    named = aiproxy("pull", "a", "--config", str(path))
    assert (named.returncode, "no image" in named.stderr) == (1, True)
    every = aiproxy("pull", "--config", str(path))
    assert (every.returncode, "nothing to pull" in every.stdout) == (0, True)


def test_import_of_a_compose_file(tmp_path: Path) -> None:
    """The configuration on standard output, what is not in it on standard error."""
    path = tmp_path / "compose.yaml"
    path.write_text("services:\n  a: {image: x, ports: ['1:1'], restart: always}\n")
    done = aiproxy("config", "import-compose", str(path))
    assert done.returncode == 0
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        [f"{path}:2:25", "services.a.ports[0]"],
        [f"{path}:2:33", "services.a.restart"],
    ]
    (tmp_path / "aiproxy.yaml").write_text(done.stdout)
    assert aiproxy("config", "check", str(tmp_path / "aiproxy.yaml")).returncode == 0
    told = json.loads(aiproxy("config", "import-compose", "--json", str(path)).stdout)
    assert (told["configuration"], len(told["remarks"])) == (done.stdout, 2)
    missing = aiproxy("config", "import-compose", str(path), "b")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "there is no 'b'" in missing.stderr


def test_schema(tmp_path: Path) -> None:
    """One JSON document, with the types of the file that is named."""
    path = tmp_path / "c.yaml"
    path.write_text("templates:\n  mine: {options: {ctx: count}, process: {command: sh}}\n" + GOOD)
    general = json.loads(aiproxy("config", "schema").stdout)
    own = json.loads(aiproxy("config", "schema", str(path)).stdout)
    assert general["$schema"] == own["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert own["$defs"].keys() - general["$defs"].keys() == {"service of type mine"}
    path.write_text("templates: {mine: {optoins: 1}}\n" + GOOD)
    wrong = aiproxy("config", "schema", str(path))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith(f"{path}:1:20: templates.mine.optoins: unknown key; did you")


def test_show(tmp_path: Path) -> None:
    """As written, or resolved with sizes for people and numbers for programs; one service alone."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "    memory: {ram: 1GiB}\n  b: {process: {command: sh}}\n")
    written = aiproxy("config", "show", "a", "--config", str(path))
    assert yaml.safe_load(written.stdout) == {
        "services": {"a": {"process": {"command": ["sh"]}, "memory": {"ram": "1GiB"}}}
    }
    people = aiproxy("config", "show", "--resolved", "--config", str(path))
    assert (people.returncode, people.stderr) == (0, "")
    assert yaml.safe_load(people.stdout)["services"]["a"]["claims"] == [{"ram": "1 GiB"}]
    programs = aiproxy("config", "show", "--resolved", "--json", "--config", str(path))
    assert json.loads(programs.stdout)["services"]["a"]["claims"] == [{"ram": 1 << 30}]
    missing = aiproxy("config", "show", "c", "--config", str(path))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "aiproxy: there is no service 'c'; there are: a, b\n"
    path.write_text(WRONG)
    wrong = aiproxy("config", "show", "--config", str(path))
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (1, "", 2)
