"""The command `usage`: what was used, by service, model, key or day."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ._at import HERE, At, daemon_at
from ._command import Json, print_json

HOUR_S = 3600.0
GB = 1e9


def usage(
    *,
    by: Annotated[
        Literal["service", "model", "key", "day"], Parameter(help="What a line is for.")
    ] = "service",
    since: Annotated[
        str | None, Parameter(name="--from", help="The first day (UTC). Default: 30 days in all.")
    ] = None,
    until: Annotated[
        str | None, Parameter(name="--to", help="The last day, which counts, too. Default: today.")
    ] = None,
    csv: Annotated[
        bool, Parameter(negative=(), help="All figures, as comma-separated values.")
    ] = False,
    at: At = HERE,
    json: Json = False,
) -> None:
    """Show what was used: requests, tokens, waits, and what services held."""
    wanted = {"by": by} | {
        name: day for name, day in (("from", since), ("to", until)) if day is not None
    }
    with daemon_at(at) as daemon:
        said = daemon.usage(**wanted)
    if json:
        print_json(said)
    elif csv:
        _print_csv(said["rows"])
    elif not said["rows"]:
        print(f"nothing was used from {said['from']} to {said['to']}")
    else:
        from ._console import print_table

        print_table([_heads(by), *(_line(row, by) for row in said["rows"])])


def _print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    import sys
    from csv import DictWriter

    if rows:
        writer = DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _heads(by: str) -> tuple[str, ...]:
    heads = f"{by} requests failed refused left tokens-in tokens-out waited took"
    if by in ("service", "day"):
        heads += " starts evicted gpu-h idle-h vram-gb-h ram-gb-h kwh"
    return tuple(heads.upper().split())


def _line(row: Mapping[str, Any], by: str) -> tuple[str, ...]:
    counted = max(1, row["requests"])
    line = [str(row[by]) or "-"]
    line += [
        str(row[name])
        for name in ("requests", "failed", "refused", "left", "input_tokens", "output_tokens")
    ]
    # Of one request, on average.
    line += [f"{row[name] / counted:.2f}s" for name in ("waited_s", "duration_s")]
    if "starts" in row:
        line += [str(row["starts"]), str(row["evictions"])]
        line += [f"{row[name] / HOUR_S:.2f}" for name in ("gpu_s", "idle_s")]
        line += [f"{row[name] / GB / HOUR_S:.2f}" for name in ("vram_byte_s", "ram_byte_s")]
        line.append(f"{row['energy_j'] / 3.6e6:.3f}")
    return tuple(line)
