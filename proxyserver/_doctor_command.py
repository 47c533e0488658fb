"""The command `aiproxy doctor`: what is wrong with this machine, and what would help."""

import os
from typing import TYPE_CHECKING

from ._command import FAILED, CommandFailed, Json, print_json
from ._configuration import Config, load_settings, usual_path

if TYPE_CHECKING:
    from .doctor import Finding


def doctor(*, config: Config = None, json: Json = False) -> None:
    """Tell what this machine lacks, and what would help; without a configuration, in general."""
    from .doctor import Needs, Verdict, examine
    from .settings import ServerSettings, usual_state_dir

    path = config or usual_path()
    needs = Needs(ServerSettings(state_dir=usual_state_dir(os.environ)))
    if path is not None:
        needs = Needs.of(load_settings(path))
    findings = []
    for finding in examine(needs):
        findings.append(finding)
        if not json:
            _show(finding)
    if json:
        print_json(
            [
                {
                    "what": one.what,
                    "verdict": one.verdict.value,
                    "message": one.message,
                    "remedy": one.remedy,
                }
                for one in findings
            ]
        )
    bad = [finding.what for finding in findings if finding.verdict is Verdict.BAD]
    if bad:
        raise CommandFailed(FAILED, f"aiproxy: not well: {', '.join(bad)}")


def _show(finding: "Finding") -> None:
    print(f"{finding.verdict.value:8} {finding.what}: {finding.message}", flush=True)
    if finding.remedy:
        print(f"         {finding.remedy}", flush=True)
