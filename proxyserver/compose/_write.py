"""Values to YAML that our own reader reads back as they were."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from proxyserver.settings._yaml import Fraction, Whole


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# PyYAML quotes what it would not read as text itself; our reader knows more numbers (1e3).
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$|0o[0-7]+$"),
    None,
)


def _number(dumper: yaml.SafeDumper, number: Whole | Fraction) -> yaml.ScalarNode:
    """Write a number as it was written: `0755`, `1.10`."""
    tag = dumper.resolve(yaml.ScalarNode, number.text, (True, False))  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(tag, number.text)


_Dumper.add_representer(Whole, _number)
_Dumper.add_representer(Fraction, _number)


def to_yaml(value: Any) -> str:
    """Write a value in block style, its keys in their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def configuration(
    services: Mapping[str, Mapping[str, Any]],
    comments: Mapping[str, Sequence[str]],
    head: Sequence[str],
) -> str:
    """Write a configuration of these services, each below what there is to say of it."""
    lines = [f"# {line}" for line in head]
    lines.append("services:" if services else "services: {}")
    for name, service in services.items():
        lines += ["", *(f"  # {comment}" for comment in comments.get(name, ()))]
        lines += [f"  {line}".rstrip() for line in to_yaml({name: dict(service)}).splitlines()]
    return "\n".join(lines) + "\n"
