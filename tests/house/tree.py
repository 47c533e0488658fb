"""The files of this project, as git would commit them."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


@functools.cache
def files(pattern: str = "*") -> tuple[Path, ...]:
    """Return all files that are tracked, or would be by `git add`, and match by their path."""
    # Root may look at somebody's clone here: git refuses that unless told otherwise.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others"]
    listed = subprocess.run(
        [*command, "--exclude-standard", "--", pattern],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(sorted({path for path in paths if path.is_file()}))


def name_of(path: Path) -> str:
    """Return the path as people write it, for messages and test ids."""
    return str(path.relative_to(ROOT))


def package_of(path: Path) -> str:
    """Return the dotted name of the package that a module is in."""
    return ".".join(path.relative_to(ROOT).parent.parts)


def imports(tree: ast.AST, package: str = "") -> Iterator[tuple[str, str]]:
    """Yield every import as (module, name); the name is empty for `import module`.

    `package` makes relative imports absolute: the dotted name of the module's package.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*(parents if node.level else []), *([node.module] if node.module else [])]
            yield from ((".".join(parts), alias.name) for alias in node.names)
