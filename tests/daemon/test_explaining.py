"""Whoever wonders afterwards is told what happened, by the daemon itself."""

from collections.abc import Callable

from tests.daemon.rig import Daemon, Flavour, question, wait_until

NewDaemon = Callable[..., Daemon]
HALF = {"ram": "1200MiB"}
"""Two such services do not fit together."""


def test_a_swap_is_explained(flavour: Flavour, new_daemon: NewDaemon) -> None:
    """To both sides: the request that waited, and the service that left for it."""
    services = {name: {**flavour.mock({}), "memory": HALF} for name in ("chat", "coder")}
    daemon = new_daemon(services, **flavour.server)
    assert daemon.chat("coder").status_code == 200
    answer = daemon.chat("chat", headers={"X-Request-Id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    kinds = [one["kind"] for one in decisions(daemon, "service=coder")]
    assert kinds[-3:] == ["evict", "stop", "down"]
    wait, admit = decisions(daemon, "request=mine")
    assert (wait["kind"], admit["kind"]) == ("wait", "admit")
    story = daemon.command("explain", "mine").stdout
    assert story.startswith("Request mine waited ")
    assert "coder leaves to make room: chat needs 1.2 GiB on ram" in story
    assert "chat is ready" in story
    assert "coder is stopped: room for chat" in daemon.command("explain", "coder").stdout


def test_the_journal_has_nothing_of_requests(flavour: Flavour, new_daemon: NewDaemon) -> None:
    """Whoever sends it with a bug report gives away no prompt, no key and no address."""
    daemon = new_daemon({"chat": flavour.mock({})}, **flavour.server)
    secrets = {"Authorization": "Bearer s3cret-key", "X-Request-Id": "s3cret-id"}
    body = {**question("chat"), "user": "s3cret-user", "model": "chat"}
    path = "/v1/chat/completions?key=s3cret-query"
    assert daemon.request("POST", path, json=body, headers=secrets).status_code == 200
    journals = daemon.folder / "state" / "journal"

    def written() -> str:
        return "".join(file.read_text() for file in journals.iterdir())

    wait_until("the end of the request is written", lambda: "RequestFinished" in written())
    assert [word for word in ("s3cret", "Say hello", "127.0.0.1") if word in written()] == []


def decisions(daemon: Daemon, query: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = daemon.get(f"/api/v1/decisions?{query}").json()["decisions"]
    return found
