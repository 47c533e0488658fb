"""`aiproxy simulate` and `aiproxy replay` on files of all kinds."""

import gzip
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from proxyserver._plot import svg
from proxyserver.cli import run
from tests.core.test_journal import written

TRACE = "t_s,service,user,dur_s\n" + "".join(
    f"{60 * number},{service},,3\n" for number, service in enumerate("abacabadab")
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Return a trace of four services."""
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> str:
    """Run a command; return what it wrote, errors after answers."""
    assert run([str(one) for one in arguments]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_policies_are_compared(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each capacity and policy, in the order asked for."""
    rows = json.loads(
        told(capsys, "simulate", trace, "--policy", "lru,lfu", "--capacity", "24GB,12GB", "--json")
    )
    assert [(row["capacity"], row["policy"]) for row in rows] == [
        (capacity, policy) for capacity in ("22.35 GiB", "11.18 GiB") for policy in ("lru", "lfu")
    ]
    assert {row["requests"] for row in rows} == {10}
    table = told(capsys, "simulate", trace, "--policy", "all")
    assert table.splitlines()[0].split()[:3] == ["CAPACITY", "POLICY", "STARTS"]
    assert len(table.splitlines()) == 6


def test_pure_caching_shows_the_bound(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is below the least, and the checks may look on."""
    rows = json.loads(told(capsys, "simulate", trace, "--pure", "--checked", "--json"))
    assert all(row["load_over_least"] >= 1.0 for row in rows)


def test_a_compressed_trace_is_the_same(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its name ends in."""
    packed = trace.with_name("packed")
    packed.write_bytes(gzip.compress(trace.read_bytes()))
    assert told(capsys, "simulate", packed) == told(capsys, "simulate", trace)


def test_a_journal_is_simulated_on_its_own_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its services, its devices, its requests."""
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(written()))
    [row] = json.loads(told(capsys, "simulate", path, "--policy", "lru", "--json"))
    assert (row["requests"], row["starts"]) == (2, 2)


def test_a_replay_agrees_or_says_where_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By file and line, with both versions, and exit code 1."""
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(written()))
    assert told(capsys, "replay", path) == "6 events, 5 orders, 0 differences\n"
    path.write_text("".join(written()).replace("admit 2", "admit 7"))
    assert told(capsys, "replay", path, code=1).splitlines() == [
        f"{path}:11: RunReady at 1259.500",
        "    then: admit 7 to chat#2",
        "    now:  admit 2 to chat#2",
        "6 events, 5 orders, 1 differences",
        f"{path}: other decisions than when it was written",
    ]


@pytest.mark.parametrize("command", ["simulate", "replay"])
def test_broken_lines_are_told_by_file_and_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends there, or goes on when told so."""
    path = tmp_path / "journal.jsonl"
    lines = written()
    lines.insert(2, "{broken\n")
    path.write_text("".join(lines))
    assert told(capsys, command, path, code=1).startswith(f"aiproxy: {path}:3: ")
    assert run([command, str(path), "--skip-broken"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policy", "lur"), "unknown policy 'lur'; there are cost_rate, "),
        (("--capacity", "much"), "--capacity: expected a size such as 24GiB"),
    ],
)
def test_wrong_wishes_are_told(
    arguments: tuple[str, str], message: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what would be right."""
    assert told(capsys, "simulate", trace, *arguments, code=1).startswith(f"aiproxy: {message}")


def test_a_file_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing, or torn."""
    torn = tmp_path / "torn.gz"
    torn.write_bytes(gzip.compress(TRACE.encode())[:30])
    for path in (tmp_path / "none", torn):
        assert "cannot be read" in told(capsys, "simulate", path, code=1)


def test_figures_are_drawn(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar for each policy and measure, and no measure that is 0 everywhere."""
    path = trace.with_name("figures.svg")
    told(capsys, "simulate", trace, "--policy", "lru,lfu", "--pure", "--plot", path)
    drawing = path.read_text()
    root = ElementTree.fromstring(drawing)
    words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"trace.csv", "24 GiB", "lru", "lfu", "load, over least possible"} <= set(words)
    assert "mean wait, s" not in words, "nothing takes time"
    assert "prefers-color-scheme: dark" in drawing


def test_names_cannot_break_a_drawing() -> None:
    """A policy may be called anything."""
    rows = [{"capacity": "<&>", "policy": "a<b", "load_s": 1.0, "fairness": 1.0}]
    assert ElementTree.fromstring(svg('"&', rows)) is not None
    assert ElementTree.fromstring(svg("empty", [])) is not None


def test_a_drawing_that_cannot_be_written_is_told(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trace.with_name("none") / "figures.svg"
    assert f"{path}: cannot be written" in told(capsys, "simulate", trace, "--plot", path, code=1)


def test_progress_is_told_when_asked_for(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, a line for each simulation that is over; else nothing in a pipe."""
    arguments = ["simulate", str(trace), "--policy", "lru,lfu"]
    assert run([*arguments, "--progress"]) == 0
    assert capsys.readouterr().err == "lru on 24 GiB: 100%\nlfu on 24 GiB: 100%\n"
    assert run(arguments) == 0
    assert capsys.readouterr().err == ""
