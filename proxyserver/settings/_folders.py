"""From `models_dir:` of a service to services, one for each model that is in the folder."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from proxyserver.gguf import FolderModel, models_in

from ._errors import Problem, Problems, Steps
from ._plain import host_path, word

TYPES = ("llamacpp",)
"""Whose servers have one model each; `llamacpp-router` looks into its folder itself."""
MEANING = "A folder, every GGUF of which is a service of its own, in the place of `model`."
NAME_MAX = 63
_OTHER = re.compile(r"[^a-z0-9._-]+")
_ALIAS = re.compile(r"[!-~]{1,128}")
_OF_ONE = ("model", "mmproj", "draft_model", "aliases")
"""What would be the same for all."""


@attrs.define
class Folders:
    """Reads the folders that a configuration names."""

    _base: Callable[[Steps], Path]
    """Tells where relative paths start."""
    _found: Problems
    watched: list[Path] = attrs.field(factory=list, init=False)
    remarks: list[Problem] = attrs.field(factory=list, init=False)

    def expanded(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """Return the services, with those of a folder in the place of what names the folder."""
        services: dict[str, Any] = {}
        taken = set(_names(written))
        for key, value in written.items():
            if not _has_folder(value):
                services[key] = value
                continue
            for model in self._models(key, value):
                service = _OTHER.sub("-", model.name.lower()).strip("-._")[:NAME_MAX]
                if service in taken or not service:
                    said = f"{model.path}: there is a service {service!r} already"
                    self._remark(("services", key, "models_dir"), said)
                    continue
                # Names are lower case; clients may also use that of the file, to the letter.
                alias = (
                    () if model.name in taken or not _ALIAS.fullmatch(model.name) else (model.name,)
                )
                taken.update((service, *alias))
                self._found.marks.origins["services", service] = ("services", key)
                services[service] = _written(value, model, [one for one in alias if one != service])
        return services

    def _models(self, key: str, value: Mapping[str, Any]) -> tuple[FolderModel, ...]:
        at: Steps = ("services", key, "models_dir")
        for other in _OF_ONE:
            if other in value:
                what = f"is for one model, and `models_dir` brings many: leave out `{other}`"
                self._found.add(("services", key, other), what, at_key=True)
        try:
            folder = host_path(word(value["models_dir"]), self._base(at))
        except ValueError as error:
            self._found.add(at, str(error))
            return ()
        if not folder.is_dir():
            self._found.add(at, f"no such folder: {folder}")
            return ()
        self.watched.append(folder)
        there = models_in(folder)
        for said in there.left_out:
            self._remark(at, said)
        if not there.models:
            self._remark(at, f"there is no model in {folder} yet")
        return there.models

    def _remark(self, at: Steps, message: str) -> None:
        self.remarks.append(self._found.marks.problem(at, message))


def _has_folder(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in TYPES and "models_dir" in value


def _names(written: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that are somebody's already."""
    for key, value in written.items():
        if not _has_folder(value):
            yield key
            aliases = value.get("aliases") if isinstance(value, dict) else None
            listed = aliases if isinstance(aliases, list) else ()
            yield from (one for one in listed if isinstance(one, str))


def _written(value: Mapping[str, Any], model: FolderModel, aliases: list[str]) -> dict[str, Any]:
    own = {key: said for key, said in value.items() if key != "models_dir"}
    beside = {} if model.mmproj is None else {"mmproj": str(model.mmproj)}
    return {**own, "model": str(model.path), "aliases": aliases, **beside}
