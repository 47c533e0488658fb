"""`aiproxy chat` and `aiproxy bench`: answers as they come, and how fast they came."""

import json
from collections.abc import Iterator

import pytest

from proxyserver.answers import Answer, AnswerFailed, Piece

from .daemon import CHATS, Daemon, aiproxy, running_daemon
from .terminal import at_terminal

pytestmark = pytest.mark.slow  # Each starts a Python of its own.


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


def asked(*words: str) -> dict[str, object]:
    """Return the body of a question."""
    messages = [{"role": "user", "content": word} for word in words]
    return {"model": "coder", "stream": True, "messages": messages}


@pytest.mark.parametrize(("question", "typed"), [(["hi there"], ""), ([], "hi there\n")])
def test_one_question(daemon: Daemon, question: list[str], typed: str) -> None:
    """As an argument or by a pipe: the answer alone is on standard output."""
    done = aiproxy("chat", "coder", *question, "--url", daemon.url, typed=typed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello wörld\n", "")
    assert daemon.chats == [asked("hi there")]


def test_what_the_model_is_told(daemon: Daemon) -> None:
    """Options become parameters; what is not said is left to the server."""
    options = ("--system", "be brief", "--max-tokens", "5", "--temperature", "0")
    aiproxy("chat", "coder", "hi", *options, "--url", daemon.url)
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert daemon.chats == [asked() | {"messages": messages, "max_tokens": 5, "temperature": 0}]


def test_for_programs(daemon: Daemon) -> None:
    """Thoughts apart from the answer, which has neither when it is for people in a pipe."""
    done = aiproxy("chat", "coder", "hi", "--json", "--url", daemon.url)
    assert json.loads(done.stdout) == {
        "answer": "Hello wörld",
        "reasoning": "",
        "tokens": 7,
        "finish_reason": "stop",
    }
    thought = aiproxy("chat", "thinks", "hi", "--json", "--url", daemon.url)
    assert json.loads(thought.stdout)["reasoning"] == "hm"
    assert aiproxy("chat", "thinks", "hi", "--url", daemon.url).stdout == "Yes\n"


@pytest.mark.parametrize(
    ("model", "code", "shown", "said"),
    [
        ("busy", 1, "", "no room"),
        ("broken", 1, "Once\n", "broke off"),
        ("fails", 1, "Once\n", "the GPU was full"),
        ("odd", 1, "", "cannot be read"),
    ],
)
def test_failures(daemon: Daemon, model: str, code: int, shown: str, said: str) -> None:
    """What came is shown, why there is no more is told, and the exit code says it."""
    done = aiproxy("chat", model, "hi", "--url", daemon.url)
    assert (done.returncode, done.stdout) == (code, shown)
    assert done.stderr.startswith("aiproxy: ")
    assert said in done.stderr


def test_nothing_to_ask() -> None:
    """An empty pipe is told; nobody answering is another exit code."""
    empty = aiproxy("chat", "coder", "--url", "http://127.0.0.1:1")
    assert (empty.returncode, "no question" in empty.stderr) == (1, True)
    lost = aiproxy("chat", "coder", "hi", "--url", "http://127.0.0.1:1")
    assert (lost.returncode, "aiproxy serve" in lost.stderr) == (3, True)


def test_a_conversation(daemon: Daemon) -> None:
    """At a terminal each question knows those before; Ctrl-D ends."""
    with at_terminal("chat", "coder", "--url", daemon.url) as terminal:
        terminal.wait_for("> ")
        terminal.type("one\n")
        terminal.wait_for("Hello wörld\n> ")
        terminal.type("two\n")
        terminal.wait_for("Hello wörld\n> ")
        terminal.type("\x04")
        assert terminal.end() == 0
    answer = {"role": "assistant", "content": "Hello wörld"}
    first, second = ({"role": "user", "content": word} for word in ("one", "two"))
    assert [chat["messages"] for chat in daemon.chats] == [[first], [first, answer, second]]


def test_an_answer_can_be_stopped(daemon: Daemon) -> None:
    """Ctrl-C hangs up, so that the server stops too; then there is another question."""
    with at_terminal("chat", "endless", "--url", daemon.url, NO_COLOR="1") as terminal:
        terminal.wait_for("> ")
        terminal.type("tell me\n")
        terminal.wait_for("Once upon")
        terminal.interrupt()
        terminal.wait_for("(stopped)\n> ")
        assert daemon.left.wait(10)
        terminal.type("and then?\n")
        terminal.wait_for("Once upon")
        terminal.interrupt()
        terminal.wait_for("(stopped)\n> ")
        assert terminal.end(interrupted=True) == 130
    told = [message["content"] for message in daemon.chats[1]["messages"]]
    assert told == ["tell me", "Once upon", "and then?"]


def test_a_failure_does_not_end_a_conversation(daemon: Daemon) -> None:
    """It is told, the question is forgotten, and the next one is asked alone."""
    with at_terminal("chat", "busy", "--url", daemon.url, NO_COLOR="1") as terminal:
        for word in ("one", "two"):
            terminal.wait_for("> ")
            terminal.type(f"{word}\n")
            terminal.wait_for("no room\n")
        terminal.type("/bye\n")
        assert terminal.end() == 0
    assert [len(chat["messages"]) for chat in daemon.chats] == [1, 1]


def test_thoughts_are_dim(daemon: Daemon) -> None:
    """On a terminal they are shown, apart from the answer."""
    with at_terminal("chat", "thinks", "hi", "--url", daemon.url) as terminal:
        assert terminal.end() == 0
    assert "\x1b[2mhm\x1b[0m\n\nYes\n" in terminal.shown


def test_bench(daemon: Daemon) -> None:
    """One to warm up, then as many as asked for, no two alike; figures by name."""
    options = ("-n", "6", "-c", "3", "--max-tokens", "9", "--prompt", "a b", "--prompt-words", "7")
    done = aiproxy("bench", "coder", *options, "--json", "--url", daemon.url)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["requests"], found["failed"], found["concurrency"]) == (6, 0, 3)
    assert (found["tokens"], found["tokens_are_counted"]) == (42, True)
    assert 0 < found["first_token_s"]["least"] <= found["first_token_s"]["median"]
    assert found["first_token_s"]["median"] <= found["first_token_s"]["p95"] <= found["took_s"]
    prompts = {chat["messages"][0]["content"] for chat in daemon.chats}
    assert prompts == {f"{number}. a b a b a b" for number in range(7)}
    assert [chat["max_tokens"] for chat in daemon.chats] == [1, *[9] * 6]


def test_bench_for_people(daemon: Daemon) -> None:
    """A table; without usage, pieces are counted and called so."""
    done = aiproxy("bench", "coder", "-n", "2", "--url", daemon.url)
    assert done.stdout.splitlines()[0].split() == ["MEDIAN", "LEAST", "P95", "MOST"]
    assert "tokens/s in one answer" in done.stdout
    thinks = aiproxy("bench", "thinks", "-n", "2", "--url", daemon.url)
    assert "pieces/s of all together" in thinks.stdout


def test_bench_tells_failures(daemon: Daemon) -> None:
    """How many, and the first reason; nobody there is another exit code."""
    done = aiproxy("bench", "busy", "-n", "3", "--url", daemon.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "aiproxy: 3 of 3 requests failed, the first with: no room\n"
    lost = aiproxy("bench", "coder", "--url", "http://127.0.0.1:1")
    assert (lost.returncode, "aiproxy serve" in lost.stderr) == (3, True)


def test_answers_are_read_by_the_line() -> None:
    """Comments bring nothing, and an answer that is not at its end has broken off."""
    answer = Answer()
    found = [answer.take(line) for line in CHATS["coder"]]
    assert found == [None, Piece("Hello "), Piece("wörld"), None, None, None]
    answer.finish()
    assert (answer.text, answer.tokens, answer.why) == ("Hello wörld", 7, "stop")
    with pytest.raises(AnswerFailed, match="broke off"):
        Answer().finish()
