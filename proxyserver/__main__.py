"""`python -m proxyserver` and the command `aiproxy`."""

import sys


def main() -> None:
    """Run the command that the arguments name; its exit code is the process's."""
    from .cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
