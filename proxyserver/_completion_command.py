"""The command `aiproxy completion`: what a shell needs to complete commands and options."""

from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import App, Parameter

# As a file `_aiproxy` on zsh's `fpath` it is run when it is first wanted, else it is sourced.
_ZSH_END = """
if [[ ${funcstack[1]} == _aiproxy ]]; then
  _cyclopts_aiproxy "$@"
else
  compdef _cyclopts_aiproxy aiproxy
fi
"""
Shell = Literal["bash", "zsh", "fish"]


def completion_of(app: App) -> Callable[[Shell], None]:
    """Return the command for an app, which it has to look at whole."""

    def completion(
        shell: Annotated[Shell, Parameter(help="Which shell it is for.")],
        /,
    ) -> None:
        """Print a script that completes commands and options in a shell."""
        end = _ZSH_END if shell == "zsh" else ""
        print(app.generate_completion(shell=shell) + end, end="")

    return completion
