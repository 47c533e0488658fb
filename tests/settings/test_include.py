"""A configuration in several files: one document, whose errors name the right file."""

from pathlib import Path

import pytest

from proxycore import ServiceId
from proxyserver.runtime._protocol import ContainerSpec, Mount
from proxyserver.settings import Settings, SettingsError, load
from proxyserver.settings import show as text
from proxyserver.settings._include import DEPTH_MAX, FILES_MAX
from proxyserver.settings.schema import schema_of

from .writing import ENVIRON, Folder, no_gpus

SH = "process: {command: [sh]}"


def put(folder: Folder, name: str, content: str) -> Path:
    file = folder.path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def ids(folder: Folder, main: str) -> list[str]:
    return list(folder.load(main).services)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("more.yaml", ["more"]),
        ("[more.yaml, conf.d]", ["more", "a", "b"]),
        ('"conf.d/*.yml"', ["b"]),
        ('["*.yaml"]', ["more"]),
        ('"nothing/*.yaml"', []),
    ],
)
def test_files_folders_and_patterns(folder: Folder, written: str, found: list[str]) -> None:
    """In the order of their names, without hidden ones; a pattern does not mean its own file."""
    put(folder, "more.yaml", f"services: {{more: {{{SH}}}}}")
    put(folder, "conf.d/a.yaml", f"services: {{a: {{{SH}}}}}")
    put(folder, "conf.d/b.yml", f"services: {{b: {{{SH}}}}}")
    put(folder, "conf.d/.c.yaml", "broken: [")
    put(folder, "conf.d/readme.txt", "broken: [")
    assert ids(folder, f"include: {written}\nservices: {{mine: {{{SH}}}}}") == ["mine", *found]


def test_parts_come_together(folder: Folder) -> None:
    """Keys of `server:`, templates that another file uses; a file named twice is read once."""
    put(folder, "t.yaml", "templates: {mine: {process: {command: [sh]}}}")
    put(folder, "s.yaml", "include: t.yaml\nserver: {port: 7}\nx-notes: 1")
    put(folder, "a.yaml", "include: [t.yaml]\nservices: {a: {type: mine}}")
    found = load_file(folder, "include: [s.yaml, a.yaml]\nserver: {shutdown_s: 3}\n")
    assert (found.server.port, found.server.shutdown_s) == (7, 3.0)
    assert [one.type for one in found.services.values()] == ["mine"]
    files = [path.name for path in found.sources.files]
    assert files == ["aiproxy.yaml", "s.yaml", "t.yaml", "a.yaml"]


def load_file(folder: Folder, main: str, said: str | None = None) -> Settings:
    folder.file.write_text(main)
    return load(folder.file, ENVIRON, text=said, find_gpus=no_gpus)


def test_paths_start_at_their_own_file(folder: Folder) -> None:
    """Of services as of `include:` itself, and of what a template in another folder says."""
    service = "{type: mine, container: {volumes: ['./data:/data']}}"
    put(folder, "team/svc.yaml", f"include: own/t.yaml\nservices: {{a: {service}}}")
    template = "{container: {image: x, port: 1}}"
    put(folder, "team/own/t.yaml", f"templates: {{mine: {template}}}")
    put(folder, "team/run.yaml", f"services: {{b: {{{SH}}}}}")
    (folder.path / "team/data").mkdir()
    services = load_file(folder, "include: [team/svc.yaml, team/run.yaml]").services
    what = services[ServiceId("a")].launch.what
    assert isinstance(what, ContainerSpec)
    assert what.mounts == (Mount(str(folder.path / "team/data"), "/data"),)
    process = services[ServiceId("b")].launch.what
    assert getattr(process, "working_dir", None) == str(folder.path / "team")


def test_errors_name_their_file(folder: Folder) -> None:
    """With line and column, in the order of the files; what stands twice, with both places."""
    put(folder, "a.yaml", f"services:\n  one: {{{SH}}}\n  bad: {{{SH}, idel_s: 3}}\n")
    put(folder, "b.yaml", f"server: {{port: 99}}\nservices:\n  one: {{{SH}}}\nother: 1\n")
    main = f"include: [a.yaml, b.yaml]\nserver: {{port: 98}}\nservices: {{x: {{{SH}, idle: 3}}}}"
    folder.file.write_text(main)
    with pytest.raises(SettingsError) as caught:
        load(folder.file, ENVIRON, find_gpus=no_gpus)
    assert [str(one).replace(f"{folder.path}/", "") for one in caught.value.problems] == [
        "aiproxy.yaml:3:42: services.x.idle: unknown key; did you mean 'idle_s'?",
        "a.yaml:3:35: services.bad.idel_s: unknown key; did you mean 'idle_s'?",
        "b.yaml:1:10: server.port: given twice, first in aiproxy.yaml:2:10",
        "b.yaml:3:3: services.one: given twice, first in a.yaml:2:3",
        "b.yaml:4:1: other: unknown key",
    ]
    assert [path.name for path in caught.value.sources.files] == [
        "aiproxy.yaml",
        "a.yaml",
        "b.yaml",
    ]


def test_files_that_cannot_be_read_are_told_together(folder: Folder) -> None:
    """What they would have brought is not missed on top of it."""
    put(folder, "a.yaml", "services: [")
    put(folder, "b.yaml", "")
    folder.file.write_text("include: [a.yaml, b.yaml, c.yaml]\nservices: {x: {type: theirs}}")
    with pytest.raises(SettingsError) as caught:
        load(folder.file, ENVIRON, find_gpus=no_gpus)
    files = [Path(one.file).name for one in caught.value.problems]
    assert files == ["a.yaml", "b.yaml", "c.yaml"]
    assert "No such file" in str(caught.value.problems[2])
    assert len(caught.value.sources.files) == 4


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "aiproxy.yaml:2:10: include: goes round in a circle: aiproxy.yaml includes"),
        (
            {"a.yaml": "include: [b.yaml]", "b.yaml": "x-n: 1\ninclude: [b.yaml, a.yaml]"},
            "b.yaml:2:11: include[0]: goes round in a circle",
        ),
    ],
)
def test_circles_are_refused(folder: Folder, files: dict[str, str], problem: str) -> None:
    """Whoever includes himself, by whatever way round."""
    for name, content in files.items():
        put(folder, name, content)
    folder.file.write_text(f"services: {{}}\ninclude: {next(iter(files), 'aiproxy.yaml')}")
    with pytest.raises(SettingsError) as caught:
        load(folder.file, ENVIRON, find_gpus=no_gpus)
    assert str(caught.value).replace(f"{folder.path}/", "").startswith(problem)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{a: 1}", "2:10: include: expected a text, not a mapping (quote it if you mean it)"),
        ("[true]", "2:11: include[0]: expected a text, not true (quote it if you mean it)"),
        ("'${env:HOME}/x'", "2:10: include: the environment has no say in what is included"),
    ],
)
def test_what_is_no_file_is_refused(folder: Folder, written: str, problem: str) -> None:
    """It must be known which files belong together, whoever reads them."""
    folder.file.write_text(f"services: {{}}\ninclude: {written}")
    with pytest.raises(SettingsError) as caught:
        load(folder.file, ENVIRON, find_gpus=no_gpus)
    assert str(caught.value) == f"{folder.file}:{problem}"


def test_there_is_a_limit(folder: Folder) -> None:
    """To their number, and to how deep they lie in each other."""
    for number in range(FILES_MAX):
        put(folder, f"many/{number:03}.yaml", "x-note: 1")
    for number in range(DEPTH_MAX):
        put(folder, f"deep{number}.yaml", f"include: deep{number + 1}.yaml")
    for name, said in (("many", f"more than {FILES_MAX} files"), ("deep0.yaml", "too deep")):
        folder.file.write_text(f"services: {{}}\ninclude: {name}")
        with pytest.raises(SettingsError, match=said):
            load(folder.file, ENVIRON, find_gpus=no_gpus)


def test_a_text_reads_no_files_from_elsewhere(folder: Folder, tmp_path: Path) -> None:
    """Who may ask for a comparison shall not see what other files say."""
    inside = Folder(tmp_path / "inside")
    put(inside, "near.yaml", f"services: {{a: {{{SH}}}}}")
    put(folder, "far.yaml", "secret")
    assert list(load_file(inside, "", "include: near.yaml").services) == ["a"]
    with pytest.raises(SettingsError, match="only a file may include that"):
        load_file(inside, "", "services: {}\ninclude: ../far.yaml")


def test_it_is_shown_as_one(folder: Folder) -> None:
    """As it is written, and in the schema, with templates of another file."""
    put(folder, "t.yaml", "templates: {mine: {process: {command: ['${env:TOOL}']}}}")
    folder.file.write_text("include: t.yaml\nservices: {a: {type: mine}}")
    assert text.as_written(folder.file) == {
        "services": {"a": {"type": "mine"}},
        "templates": {"mine": {"process": {"command": ["${env:TOOL}"]}}},
    }
    assert "service of type mine" in schema_of(folder.file)["$defs"]
