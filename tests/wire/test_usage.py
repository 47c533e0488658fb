"""The figures at the end of an answer."""

import pytest

from proxyserver.wire import Tail, Usage

LAST = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34}}\n\n'
DONE = b"data: [DONE]\n\n"


def usage(*pieces: bytes) -> Usage | None:
    tail = Tail()
    for piece in pieces:
        tail.add(piece)
    return tail.usage()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "framed", [LAST + DONE, chunk(LAST) + chunk(DONE), chunk(LAST[:40]) + chunk(LAST[40:])]
)
def test_the_figures_are_found_however_they_come(framed: bytes) -> None:
    """After a long answer, within chunks or across them, in pieces of any size."""
    for size in (1, 7, 100, 10_000):
        whole = b"data: {}\n\n" * 1000 + framed
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert usage(*pieces) == Usage(12, 34)


@pytest.mark.parametrize(
    ("answer", "figures"),
    [
        (b'{"usage": {"prompt_tokens": 5, "total_tokens": 5}}', Usage(5, 0)),
        (b'{"usage": {"input_tokens": 5, "output_tokens": 6}}', Usage(5, 6)),
        (b'{"usage": null}', None),
        (b'{"usage": {"prompt_tokens": "many"}}', None),
        (b'{"usage": {"prompt_tokens": 5', None),
        (b"", None),
    ],
)
def test_both_dialects_are_read_and_nothing_is_made_up(
    answer: bytes, figures: Usage | None
) -> None:
    """OpenAI's names and Anthropic's; none, or broken ones, are none."""
    assert usage(answer) == figures
