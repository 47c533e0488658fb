"""Logs are untrusted text of any size: cleaned, bounded, followed."""

from pathlib import Path

import pytest
import trio
import trio.testing

from proxyserver.runtime._logs import (
    LINE_MAX,
    TAIL_BYTES_MAX,
    LineSplitter,
    bound_file,
    clean_line,
    clean_lines,
    follow_file,
    read_tail,
)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain\ttext", "plain\ttext"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("bell\x07", "bell\N{REPLACEMENT CHARACTER}"),
        ("10 %\r50 %\r100 %\r\n", "100 %"),
        ("abc\u202ecba", "abc\N{REPLACEMENT CHARACTER}cba"),
        ("x" * (LINE_MAX + 1), "x" * LINE_MAX),
    ],
)
def test_clean_line(raw: str, clean: str) -> None:
    """What could harm a terminal does not pass."""
    assert clean_line(raw) == clean


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pieces_do_not_matter(size: int) -> None:
    """Lines are the same however their bytes arrive, broken characters included."""
    data = "größe\r\n\n日本\n".encode() + b"\xff\xfe broken\nunfinished"
    splitter = LineSplitter()
    lines = [
        line
        for start in range(0, len(data), size)
        for line in splitter.feed(data[start : start + size])
    ]
    assert [*lines, *splitter.end()] == list(clean_lines(data))
    assert list(clean_lines(data)) == ["größe", "", "日本", "\ufffd\ufffd broken", "unfinished"]


def test_endless_line_takes_bounded_memory() -> None:
    """A line without end is cut while it comes, not when it ends."""
    splitter = LineSplitter()
    for _ in range(100):
        assert list(splitter.feed(b"x" * LINE_MAX)) == []
    assert len(splitter._begun) <= 4 * LINE_MAX
    assert list(splitter.feed(b"\n")) == ["x" * LINE_MAX]


def test_tail_of_a_large_file(tmp_path: Path) -> None:
    """Only the end of a file is read, and its first half line is left out."""
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert path.stat().st_size > TAIL_BYTES_MAX
    assert read_tail(path, 2) == ("line 99998", "line 99999")
    assert all(line.startswith("line ") for line in read_tail(path, 1_000_000))
    assert read_tail(tmp_path / "none", 2) == ()


def test_bounding_keeps_the_newest(tmp_path: Path) -> None:
    """A log that is too long loses its oldest part; its writer notices nothing."""
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 1000)
        bound_file(path, 8000)
        assert path.stat().st_size == 4000, "not too long: left alone"
        bound_file(path, 400)
        writer.write(b"new\n")
    assert path.read_bytes() == b"old\n" * 50 + b"new\n"


async def test_follow_survives_bounding(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A follower starts over when the file shrinks, and ends when the writer has."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    ended = False
    lines = follow_file(path, tail=1, follow=True, ended=lambda: ended)
    assert await anext(lines) == "two"
    with path.open("ab") as writer:
        writer.write(b"three\n")
    assert await anext(lines) == "three"
    path.write_bytes(b"four\nlast")
    assert await anext(lines) == "four"
    ended = True
    assert [line async for line in lines] == ["last"]
