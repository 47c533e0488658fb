"""The command `aiproxy plugins`: what there is besides the services themselves."""

from ._command import Json, print_json


def plugins(*, json: Json = False) -> None:
    """List templates, runtimes and policies with their origin, and say what is broken."""
    from attrs import asdict

    from ._console import print_table
    from .plugins import plugins as find

    found = list(find())
    if json:
        print_json([asdict(one) for one in found])
        return
    rows = [("KIND", "NAME", "ORIGIN", "VERSION", "STATE")]
    rows += [
        (one.kind, one.name, one.origin, one.version, " ".join((one.fault or "good").split()))
        for one in found
    ]
    print_table(rows)
