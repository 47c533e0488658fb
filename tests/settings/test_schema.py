"""The JSON Schema of the configuration takes what the reader takes, and knows most mistakes.

That it takes every configuration that any test here reads is looked at where they are read
(`writing.Folder.load`).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import cattrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from proxyserver import shapes
from proxyserver.settings._shapes import make_converter
from proxyserver.settings.schema import schema_of

from .schemas import complaint, complaint_on, validator
from .test_units import ANYTHING
from .writing import Folder

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
OF_PACKAGES = ("write-a-template.md", "write-a-runtime.md")
"""Their examples need the package that they tell how to write; tests/cli/test_plugins.py has it."""


def configurations() -> Iterator[tuple[str, str]]:
    """Yield every configuration of the documents: a fenced block, or an indented one."""
    yield "example", (ROOT / "docs/examples/aiproxy.yaml").read_text()
    for page in PAGES:
        text = (ROOT / page).read_text()
        whole = ""
        for block in re.findall(r"^```yaml\n(?!scrape_configs:)(.*?)^```", text, re.M | re.S):
            # An indented block goes below the last whole one.
            whole = f"{whole}\n{block}" if block.startswith(" ") else block
            yield page, whole
        if not page.endswith(OF_PACKAGES):
            for block in re.findall(r"(?:^    .*\n|^\n)+", text, re.M):
                if dedent(block).strip().startswith(("services:", "templates:", "server:")):
                    yield page, dedent(block).strip()


EXAMPLES = list(configurations())


@pytest.mark.parametrize("text", [text for _, text in EXAMPLES], ids=[page for page, _ in EXAMPLES])
def test_examples_of_the_documents_are_good(text: str) -> None:
    """What people copy has no red line in their editor."""
    if text.startswith("server:") and "\nservices:" not in text:
        text += "\nservices: {}\n"
    assert complaint(text) is None


def test_there_are_examples() -> None:
    """The documents are really read."""
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {}", "$: 'services' is a required property"),
        ("servces: {}", "$: 'servces' does not match any"),
        ("server: {prot: 1}\nservices: {}", "$.server: Additional properties are not"),
        ("server: {port: 65536}\nservices: {}", "$.server.port: 65536 is greater than"),
        ("server: {headroom: 5 apples}\nservices: {}", "$.server.headroom: '5 apples' does not"),
        ("server: {wait_s: soon}\nservices: {}", "$.server.wait_s: 'soon' does not match"),
        ("server: {log: {level: LOUD}}\nservices: {}", "$.server.log.level: 'LOUD'"),
        ("services: {A: {type: ollama}}", "$.services: 'A' does not match"),
        ("services: {a: {}}", "$.services.a: "),
        ("services: {a: {type: lamacpp}}", "$.services.a.type: 'lamacpp'"),
        ("services: {a: {type: llamacpp}}", "$.services.a: 'model' is a required property"),
        ("services: {a: {type: llamacpp, model: x, modle: y}}", "'modle' does not match any"),
        ("services: {a: {type: ollama, model: x}}", "'model' does not match any"),
        ("services: {a: {type: llamacpp, model: x, ctx: 1.5}}", "$.services.a.ctx: 1.5"),
        ("services: {a: {process: {command: {a: 1}}}}", "$.services.a.process.command: {'a': 1}"),
        ("services: {a: {container: {restart: always}}}", "('restart' was unexpected)"),
        ("services: {a: {external: {health: /}}}", "is not valid under any of the given schemas"),
        ("services: {a: {type: ollama, models: [{}]}}", "'name' is a required property"),
        ("services: {a: {type: ollama, priority: true}}", "$.services.a.priority: True is not"),
        ("services: {a: {type: mine}}\ntemplates: {mine: {optoins: {}}}", "'optoins' does not"),
    ],
)
def test_mistakes_are_seen(text: str, said: str) -> None:
    """What the reader refuses for its shape alone, an editor marks at the same place."""
    found = complaint(text)
    assert found is not None
    assert said in found


def test_references_and_anchors_are_left_alone() -> None:
    """A value of the environment may become anything; keys that begin with x- are anybody's."""
    assert (
        complaint("""
        x-small: &small {idle_s: "${env:IDLE:-10m}", x-why: it is small}
        server: {port: "${env:PORT}", ram: "${env:RAM}", journal: "${env:J}", runtime: "${env:R}"}
        services:
          a: {<<: *small, type: llamacpp, model: "${env:M}/x", flash_attention: "${env:F}"}
        """)
        is None
    )


OWN = """
    templates:
      mine:
        options: {model: model, ctx: {type: count, default: 1}, mode: {type: [a, b], default: null}}
        process: {command: [sh, [-c, "${ctx}"], {when: mode, words: x}]}
        priority: ${ctx}
    services: {}
"""


def test_own_templates_become_types(folder: Folder) -> None:
    """With the configuration at hand, its templates are types with their options."""
    folder.file.write_text(dedent(OWN))
    judge = Draft202012Validator(schema_of(folder.file))

    def said(service: dict[str, Any]) -> str | None:
        return complaint_on({"services": {"a": service}}, judge)

    assert said({"type": "mine", "model": "x", "ctx": 3, "mode": "b", "idle_s": 1}) is None
    assert said({"type": "mine", "ctx": 3}) == "$.services.a: 'model' is a required property"
    assert "'c'" in (said({"type": "mine", "model": "x", "mode": "c"}) or "")
    assert "'x' does not match any" in (said({"type": "mine", "model": "x", "x": 1}) or "")


def test_any_type_may_be_an_own_template() -> None:
    """Without it, a type is not doubted where there are templates."""
    services = "services: {a: {type: mine, whatever: 1, idle_s: 3}}"
    assert complaint(f"templates: {{mine: {{}}}}\n{services}") is None
    assert complaint(services) is not None


def judge_of(tag: str) -> Draft202012Validator:
    """Return the judge of one shape."""
    whole = validator().schema
    assert isinstance(whole, dict)
    return Draft202012Validator(whole["$defs"][tag])


@pytest.mark.parametrize(
    "shape", [shapes.Size, shapes.Seconds, shapes.Name, shapes.Alias, shapes.Port, shapes.Share]
)
def test_shapes_agree_with_their_readers(shape: Any) -> None:
    """Whatever a reader takes, the schema of its shape takes."""
    judge = judge_of(shape.__metadata__[0])
    reader = make_converter(ROOT, {})

    @given(ANYTHING)
    def agree(value: Any) -> None:
        with suppress(ValueError, cattrs.BaseValidationError):
            reader.structure(value, shape)
            assert judge.is_valid(value)

    agree()


UNITS = st.sampled_from(
    ["", "B", "K", "kB", "MiB", "gb", "T", " GiB", "ms", "s", "m", "h", "d", "x"]
)


@given(st.tuples(st.integers(0, 99), UNITS, st.integers(0, 9), UNITS), st.booleans())
def test_amounts_agree_with_their_readers(parts: tuple[int, str, int, str], is_short: bool) -> None:
    """Of amounts as people write them, the schema takes just those that the reader takes."""
    text = "".join(map(str, parts[:2] if is_short else parts))
    reader = make_converter(ROOT, {})
    for shape, tag in ((shapes.Size, "size"), (shapes.Seconds, "seconds")):
        takes = True
        try:
            reader.structure(text, shape)
        except ValueError as error:
            if "more than 0" in str(error):
                continue  # A pattern cannot count.
            takes = False
        assert judge_of(tag).is_valid(text) == takes, text


def test_every_key_says_what_it_is() -> None:
    """No type of ours is unknown to the schema, and each key has the words of the reference."""

    def keys(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict):
            for key, value in node.get("properties", {}).items():
                yield f"{path}.{key}", value
            for key, value in node.items():
                yield from keys(value, f"{path}.{key}" if key != "properties" else path)

    whole = validator().schema
    assert isinstance(whole, dict)
    found = {
        path: value
        for name, one in whole["$defs"].items()
        if name != "template"  # Its values may have macros in them, so any will do.
        for path, value in keys(one, name)
    }
    assert [path for path, value in found.items() if value in ({}, True)] == []
    said = whole["$defs"]["service of type llamacpp"]["properties"]["model"]["description"]
    assert said.startswith("The GGUF file; of a split one (")
    assert whole["$defs"]["all services"]["properties"]["memory"] == {
        "$ref": "#/$defs/Memory",
        "description": "What it claims; else what the type estimates, which `aiproxy config check`"
        " tells; else nothing is reserved for it.",
    }
    assert whole["$defs"]["Server"]["properties"]["headroom"]["default"] == "512MiB"
