"""Templates that a configuration defines for itself."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxycore import DeviceId, ServiceId
from proxycore.config import GIB
from proxyserver.runtime._protocol import ContainerSpec, FailurePattern, Mount, Probe, ProcessSpec
from proxyserver.settings import SettingsError, load

from .writing import ENVIRON, Folder, no_gpus

PAGE = Path(__file__).parents[2] / "docs/reference/configuration.md"


def test_the_example_of_the_page(folder: Folder) -> None:
    """It becomes a container with the values of its service."""
    section = PAGE.read_text().split("\n## templates\n")[1]
    [text] = re.findall(r"^```yaml\n(.*?)^```", section, re.M | re.S)[:1]
    model = folder.model("models/one.bin")
    with_gpu = Folder(folder.path, find_gpus=lambda: {DeviceId("gpu0"): 24 * GIB})
    service = with_gpu.load(text).services[ServiceId("one")]
    assert service.launch.what == ContainerSpec(
        image="my/fast-server:1",
        port=9000,
        command=("--model", "/models/it", "--ctx", "4096", "--mode=quick"),
        mounts=(Mount(str(model), "/models/it", read_only=True),),
        gpus=True,
    )
    assert (service.type, service.launch.ready) == ("fast-server", Probe("/healthz"))
    assert service.launch.failures == (
        FailurePattern("no-licence", "licence .* expired", False, False, "Renew the licence."),
    )
    assert service.spec.load_s == 20.0


TEMPLATE = """
templates:
  mine:
    options:
      size: {{type: size, default: 1GiB}}
      key: {{type: text, default: null}}
      words: {{type: words, default: []}}
      loud: {{type: flag, default: false}}
      rate: {{type: number, default: null}}
    process:
      command: {command}
      environment: {{NAME: "${{service}}", KEY: "${{key}}"}}
    concurrency: 3
services:
  a: {{type: mine{options}}}
"""


def process(folder: Folder, command: str, options: str = "") -> ProcessSpec:
    text = TEMPLATE.format(command=command, options=options)
    (service,) = folder.load(text).services.values()
    assert isinstance(service.launch.what, ProcessSpec)
    assert service.spec.concurrent_max == 3
    return service.launch.what


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("[/bin/echo, '${size}', '--x=${size}']", ", size: 2KiB", "2048 --x=2048"),
        ("/bin/echo --name ${service} -p ${PORT}", "", "--name a -p ${PORT}"),
        ("[/bin/echo, '${names}']", ", aliases: [b, c]", "a b c"),
        ("[/bin/echo, '${words}', end]", ", words: x y", "x y end"),
        ("[/bin/echo, '${words}', end]", "", "end"),
        ("[/bin/echo, '${key}', [--key, '${key}'], end]", "", "end"),
        ("[/bin/echo, [--key, '${key}'], end]", ", key: k", "--key k end"),
        ("[/bin/echo, {when: loud, words: [-v, -v]}]", ", loud: true", "-v -v"),
        ("[/bin/echo, {when: loud, words: -v}, 'loud=${loud}']", "", "loud=false"),
        ("[/bin/echo, [--rate, '${rate}']]", ", rate: 0.5", "--rate 0.5"),
    ],
)
def test_words(folder: Folder, command: str, options: str, words: str) -> None:
    """Values are put where they are named, and flags go where there is none."""
    what = process(folder, command, options)
    assert what.command == ("/bin/echo", *words.split())


def test_values_may_have_spaces(folder: Folder) -> None:
    """A command is split before, so that nobody can add words by a value."""
    what = process(folder, "/bin/echo --key ${key} end", ", key: 'a b --x'")
    assert what.command[1:] == ("--key", "a b --x", "end")


def test_the_service_wins_key_by_key(folder: Folder) -> None:
    """What it says itself is not what the template says."""
    what = process(folder, "/bin/echo", ", key: k, process: {environment: {KEY: own, MORE: x}}")
    assert what.environment == (("KEY", "own"), ("MORE", "x"), ("NAME", "a"))


def test_it_builds_on_another(folder: Folder) -> None:
    """Options of a template that comes with the proxy are set, and only ours can be used."""
    text = """
        templates:
          small: {type: vllm, options: {model: model}, model: "${model}", max_model_len: 4096}
        services:
          a: {type: small, runtime: docker, model: Qwen/Qwen3-0.6B}
    """
    # An option may have the name of the option that it sets.
    (service,) = folder.load(text).services.values()
    assert isinstance(service.launch.what, ContainerSpec)
    assert service.launch.what.image == "vllm/vllm-openai:latest"
    assert service.launch.what.command is not None
    assert service.launch.what.command[0] == "Qwen/Qwen3-0.6B"
    assert "--max-model-len" in service.launch.what.command
    bad = text.replace("Qwen3-0.6B}", "Qwen3-0.6B, max_model_len: 9}")
    assert [one.split(": ", 1)[1] for one in folder.problems(bad)] == [
        "services.a.max_model_len: unknown key"
    ]


@pytest.mark.parametrize(
    ("template", "service", "said"),
    [
        ("options: {model: flie}", "", "templates.mine.options.model: expected one of text,"),
        ("options: {model: flie}", "", "; did you mean 'file'?"),
        ("options: {port: {typ: file}}", "", "options.port.typ: unknown key; did you"),
        ("options: {memory: size}", "", "'memory' is a key or macro that every service has"),
        ("options: {A b: size}", "", "is no good name of an option"),
        ("options: {n: {type: count, default: 0}}", "", "n.default: expected a whole number of at"),
        ("options: {n: count}", "", "services.a.n: is missing"),
        ("options: {n: count}", ", n: x", "services.a.n: expected a whole number, not 'x'"),
        ("options: {n: [x, y]}", ", n: z", "services.a.n: expected x or y, not 'z'"),
        ("options: {model: text}, load_s: '${modle}'", ", model: x", "no option 'modle'; did you"),
        ("containr: {}", "", "templates.mine.containr: unknown key; did you mean 'container'?"),
        ("type: vlm", "", "unknown type 'vlm' to build on; did you mean 'vllm'?"),
        ("failures: [{kind: x, pattern: '('}]", "", "failures[0].pattern: not a regular"),
        ('process: {command: "it\'s"}', "", "cannot split the command into words"),
        ("options: {n: count}, process: {command: [/bin/echo, 'a${n}']}, load_s: '${n}s'", ", n: 0",
         "services.a.n: expected a whole number of at least 1"),
        ("options: {n: {type: text, default: null}}, process: {command: 'echo a${n}'}", "",
         "the option 'n' has no value to put here"),
        ("process: {command: /bin/echo}", ", modle: x", "services.a.modle: unknown key"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(folder: Folder, template: str, service: str, said: str) -> None:
    """In the template with its line, in the service with its own."""
    text = f"templates:\n  mine: {{{template}}}\nservices: {{a: {{type: mine{service}}}}}"
    problems = folder.problems(text)
    assert any(said in one for one in problems), problems


def test_a_mistake_in_what_is_said_has_the_line_of_the_template(folder: Folder) -> None:
    """Though it is the service that says it."""
    text = """\
        templates:
          mine:
            options: {n: text}
            process: {command: /bin/echo}
            load_s: ${n}
        services:
          a: {type: mine, n: soon}
    """
    (problem,) = folder.problems(text)
    assert problem.startswith("5:13: services.a.load_s: ")


def test_secrets_stay_secret(folder: Folder) -> None:
    """A value of the environment is not told where a template has put it."""
    text = """\
        templates:
          mine: {options: {key: text}, process: {command: /bin/echo}, load_s: "x${key}"}
        services:
          a: {type: mine, key: "${env:KEY}"}
    """
    (problem,) = folder.problems(text, {**ENVIRON, "KEY": "hunter22"})
    assert "hunter" not in problem
    assert "${env:KEY}" in problem


def test_a_broken_template_is_told_once(folder: Folder) -> None:
    """Not with every service of its type again; a name that is taken is told, too."""
    text = """\
        templates:
          mine: {nonsense: 1}
          vllm: {}
        services:
          a: {type: mine}
          b: {type: mine}
    """
    assert [one.split(": ", 1)[1] for one in folder.problems(text)] == [
        "templates.mine.nonsense: unknown key",
        "templates.vllm: there is a template of this name already",
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab${}", max_size=5) | st.just("${n}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["when", "words", "command", "options", "type", "n", "default"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["options", "process", "container", "failures", "type", "load_s", "ready"]),
        VALUES,
    ),
    VALUES,
)
@settings(deadline=None, max_examples=60)
def test_any_shape_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, template: dict[str, Any], value: Any
) -> None:
    """Whatever a template says, it is a mistake that is told, and none of ours."""
    folder = tmp_path_factory.getbasetemp()
    file = folder / "own.yaml"
    written = {"templates": {"mine": template}, "services": {"a": {"type": "mine", "n": value}}}
    file.write_text(yaml.safe_dump(written))
    with contextlib.suppress(SettingsError):
        load(file, ENVIRON, find_gpus=no_gpus)
