"""The command `aiproxy keys new`: a key for somebody, and what the configuration needs of it."""

from typing import Annotated

from cyclopts import App, Parameter

from ._command import USAGE, Json, fail, print_json

keys_app = App(name="keys", help="Make API keys.")


@keys_app.command
def new(
    name: Annotated[str, Parameter(help="Whose it is, or what for: `laptop`, `ci`.")],
    /,
    *,
    admin: Annotated[
        bool, Parameter(negative=(), help="It may look at the proxy and steer it, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a key, which is shown this once, and its hash for the configuration."""
    from .access import ADMIN, INFERENCE, hashed, new_key
    from .settings import is_name

    if not is_name(name):
        said = "up to 63 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
        fail(f"{name!r} is no good name: {said}", USAGE)
    key = new_key()
    roles = [INFERENCE, ADMIN] if admin else [INFERENCE]
    if json:
        print_json({"name": name, "key": key, "hash": hashed(key), "roles": roles})
        return
    print(key)
    print()
    print("Keep it: it is not shown again.  The configuration gets its hash:")
    print()
    print("server:")
    print("  keys:")
    print(f"    {_quoted(name)}:")
    print(f"      hash: {hashed(key)}")
    print(f"      roles: [{', '.join(roles)}]")


def _quoted(name: str) -> str:
    """Return the name as YAML takes it for a text: `null` and `1` would be none."""
    return name if name.isidentifier() and name not in ("null", "true", "false") else f'"{name}"'
