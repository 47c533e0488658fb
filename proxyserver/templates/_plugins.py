"""Templates of other packages: found by entry points, watched, and never trusted."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

import attrs

from proxycore import Cause

from ._protocol import Draft, Room, Template
from ._registry import TEMPLATES

GROUP = "aiproxy.templates"
"""A package offers a template as an entry point of this group: its `type`, and what makes it."""


class BrokenTemplate(Exception):
    """What is offered cannot be used, and why."""


@attrs.define
class WatchedTemplate:
    """Somebody's template: whatever goes wrong in it is a mistake told with its service."""

    name: str
    """As the entry point calls it, whatever the template says itself."""
    options: type[Any]
    inner: Template

    def draft(self, options: Any) -> Draft:
        """Make a proposal from the options.

        Raises:
            ValueError: it cannot, and why.
        """
        try:
            draft = self.inner.draft(options)
        except (ValueError, OSError):
            raise
        except Exception as error:
            raise ValueError(f"the template {self.name!r} failed: {error!r}") from error
        if not isinstance(draft, Draft):
            raise ValueError(f"the template {self.name!r} returned no Draft")
        if (remedy := draft.remedy) is not None:
            draft = attrs.evolve(draft, remedy=partial(_careful, remedy))
        if (look := draft.examine) is not None:
            draft = attrs.evolve(draft, examine=partial(_careful_look, look))
        return draft


def _careful(remedy: Callable[[Room], str], room: Room) -> str:
    """Ask for what would help; that nobody knows it is no reason to fail."""
    try:
        return str(remedy(room))
    except Exception as error:  # Anybody's code.
        return f"what would help cannot be told ({error!r})"


def _careful_look(look: Callable[[], Cause | None]) -> Cause | None:
    """Look for a cause; one that cannot be told is none."""
    try:
        found = look()
    except Exception:  # Anybody's code.
        return None
    return found if isinstance(found, Cause) else None


@attrs.frozen
class Templates:
    """The templates there are, and why some are not."""

    usable: Mapping[str, Template]
    broken: Mapping[str, str]


def find_templates(reserved: Collection[str]) -> Templates:
    """Load the templates of other packages; a shipped one wins over another of its name.

    Args:
        reserved: keys that every service has, so that no template can have them as options.
    """
    usable: dict[str, Template] = dict(TEMPLATES)
    broken: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        if point.name in TEMPLATES:
            continue
        try:
            usable[point.name] = load_template(point, reserved)
        except BrokenTemplate as error:
            broken[point.name] = f"{point.dist.name if point.dist else point.value}: {error}"
    return Templates(MappingProxyType(usable), MappingProxyType(broken))


def load_template(point: EntryPoint, reserved: Collection[str]) -> Template:
    """Make the template of an entry point.

    Raises:
        BrokenTemplate: it cannot be imported or made, or is no template.
    """
    try:
        template = point.load()()
    except Exception as error:  # Anybody's code.
        raise BrokenTemplate(f"{point.value} cannot be loaded: {error!r}") from error
    options = getattr(template, "options", None)
    if not isinstance(options, type) or not attrs.has(options):
        raise BrokenTemplate(f"{point.value} has no attrs class `options`")
    if not callable(getattr(template, "draft", None)):
        raise BrokenTemplate(f"{point.value} has no method `draft`")
    taken = [field.name for field in attrs.fields(options) if field.name in reserved]
    if taken:
        raise BrokenTemplate(f"its option {taken[0]!r} is a key that every service has")
    return WatchedTemplate(point.name, options, template)
