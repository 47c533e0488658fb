"""Calls to a running daemon, for commands: plain values out, errors that say what to do."""

import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from json import loads
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import attrs
import httpx

URL = "http://127.0.0.1:8787"
CHAT = "/v1/chat/completions"
CONNECT_S = 5.0
CONFIG_S = 60.0
"""For reading a configuration: the engine may be asked for its images."""
QUIET_S = 60.0
"""A stream of events has a comment every 15 s at least."""
LOOK_S = 10.0
"""For questions that the daemon answers from memory."""
ACT_S = 3600.0
"""For starts and stops: longer than the longest wait, load and drain together."""


class DaemonUnreachable(Exception):
    """Nobody answers at the daemon's address, or somebody who is not the daemon."""


class DaemonRefused(Exception):
    """The daemon answered with an error."""

    def __init__(
        self, status: int, message: str, told: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(message)
        self.status = status
        self.told = told
        """All that the error says."""


@attrs.frozen
class Way:
    """How a daemon is reached, by its address."""

    base: str
    """Of the URLs of its paths."""
    socket: str | None
    """Of UNIX, where it is reached by that."""

    @classmethod
    def to(cls, url: str) -> "Way":
        """Return how to reach `http://...`, `https://...` or `unix:/path`."""
        if url.startswith("unix:"):
            path = url.removeprefix("unix:")
            return cls("http://localhost", path.removeprefix("//"))
        return cls(url.rstrip("/"), None)

    def trust(self) -> ssl.SSLContext | bool:
        """Return whose certificates are good: those of this machine's issuers, $SSL_CERT_FILE."""
        # To load them takes longer than most questions: only where they are needed.
        return ssl.create_default_context() if self.base.startswith("https:") else False


class Client:
    """One daemon by its address, and the key that it wants, if any.

    The environment's HTTP proxies are not asked: the daemon is near.

    Args:
        url: `http://...`, `https://...` or `unix:/path`.
        key: what to show.
        trusts_any: whether any certificate will do: to tell whether it is there, and no more.
    """

    def __init__(self, url: str, key: str | None = None, *, trusts_any: bool = False) -> None:
        way = Way.to(url)
        self._url, self._base = url, way.base
        trust = False if trusts_any else way.trust()
        transport = httpx.HTTPTransport(uds=way.socket, verify=trust)
        self._http = httpx.Client(transport=transport, trust_env=False, headers=headers_of(key))

    def close(self) -> None:
        self._http.close()

    def health(self, *, detail: bool = True) -> dict[str, Any]:
        """Return what the daemon knows of itself, and, in detail, its services and devices.

        Without detail it needs no key.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: the daemon answered with an error.
        """
        return self._json("GET", "/health", LOOK_S, {"detail": "1"} if detail else {})

    def act(self, verb: str, service: str, *, wait: bool, force: bool = False) -> dict[str, Any]:
        """Do this to a service; return its state after, or at once if not to wait.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: the daemon answered with an error, so it was not done.
        """
        query = {} if wait else {"wait": "false"}
        query |= {"force": "true"} if force else {}
        return self._json("POST", _path(service, verb), ACT_S, query)

    def reload(self) -> dict[str, Any]:
        """Have the configuration read again; return what has changed.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: it cannot be used, so nothing has.
        """
        return self._json("POST", "/api/v1/config/reload", CONFIG_S, {})

    def profile(self, name: str | None = None) -> dict[str, Any]:
        """Switch to a profile, or to `none`; return which is in force, and which there are.

        Args:
            name: of the profile; None: only tell.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: there is none of this name.
        """
        if name is None:
            return self._json("GET", "/api/v1/profile", CONFIG_S, {})
        return self._json("POST", f"/api/v1/profile/{quote(name, safe='')}", CONFIG_S, {})

    def usage(self, **wanted: str) -> dict[str, Any]:
        """Return what was used.

        Args:
            wanted: `by`, `from`, `to`; see `GET /api/v1/usage`.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: one of them is wrong, or no statistics are kept.
        """
        return self._json("GET", "/api/v1/usage", CONFIG_S, wanted)

    def diff(self, text: bytes) -> dict[str, Any]:
        """Return what a reload would change, or would if the file said this; nothing does.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: it cannot be used.
        """
        return self._json("POST", "/api/v1/config/diff", CONFIG_S, {}, text)

    def decisions(self, **wanted: str | int) -> list[dict[str, Any]]:
        """Return what the daemon decided of late, the newest last.

        Args:
            **wanted: the query: `service`, `request`, `ticket`, `kind`, `limit`.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: the daemon answered with an error.
        """
        query = {name: str(value) for name, value in wanted.items()}
        answer = self._json("GET", "/api/v1/decisions", LOOK_S, query)
        found: list[dict[str, Any]] = answer["decisions"]
        return found

    def events(self, service: str | None, after: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield decisions as they are made.

        Args:
            service: those about this one; None: about any.
            after: those after this number; None: those to come.

        Raises:
            DaemonUnreachable: nobody answers, or not any more.
            DaemonRefused: the daemon answered with an error.
        """
        query = {} if service is None else {"service": service}
        query |= {} if after is None else {"after": str(after)}
        for line in self._lines("GET", "/api/v1/events", QUIET_S, params=query):
            if line.startswith("data: "):
                yield loads(line.removeprefix("data: "))

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests in flight, the oldest first.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: the daemon answered with an error.
        """
        found: list[dict[str, Any]] = self._json("GET", "/api/v1/requests", LOOK_S, {})["requests"]
        return found

    def cancel(self, request: str) -> int:
        """Cancel the requests in flight with this id; return how many there were.

        Raises:
            DaemonUnreachable: nobody answers.
            DaemonRefused: there is none.
        """
        path = f"/api/v1/requests/{quote(request, safe='')}"
        return int(self._json("DELETE", path, LOOK_S, {})["cancelled"])

    def log_lines(self, service: str, *, tail: int, follow: bool) -> Iterator[str]:
        """Yield the last lines of a service's log, then, if asked, those that come.

        Raises:
            DaemonUnreachable: nobody answers, or not any more.
            DaemonRefused: the daemon answered with an error.
        """
        query = {"tail": str(tail), "follow": "true" if follow else "false"}
        # A quiet service may say nothing for days: whoever follows it ends it.
        read_s = None if follow else LOOK_S
        yield from self._lines("GET", _path(service, "logs"), read_s, params=query)

    def chat_lines(self, body: Mapping[str, Any]) -> Generator[str, None, None]:
        """Yield the lines of a chat's answer as they come; `answers.Answer` reads them.

        Raises:
            DaemonUnreachable: nobody answers, or not any more.
            DaemonRefused: the daemon or the service answered with an error.
        """
        yield from self._lines("POST", CHAT, ACT_S, json=body)

    def _lines(self, method: str, path: str, read_s: float | None, **sent: Any) -> Iterator[str]:
        times = httpx.Timeout(CONNECT_S, read=read_s)
        with (
            self._told(),
            self._http.stream(method, self._base + path, timeout=times, **sent) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise refused(answer)
            yield from answer.iter_lines()

    def _json(
        self, method: str, path: str, read_s: float, query: dict[str, str], body: bytes = b""
    ) -> dict[str, Any]:
        times = httpx.Timeout(CONNECT_S, read=read_s)
        with self._told():
            answer = self._http.request(
                method, self._base + path, params=query, content=body, timeout=times
            )
        if not answer.is_success:
            raise refused(answer)
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise DaemonUnreachable(f"what answers at {self._url} is not aiproxy")
        return content

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise DaemonUnreachable(f"{self._url!r} is no address of a daemon: {error}") from None
        except httpx.ReadTimeout:
            raise DaemonUnreachable(f"the daemon at {self._url} does not answer in time") from None
        except httpx.TransportError as error:
            raise DaemonUnreachable(
                f"no daemon at {self._url}: {error or type(error).__name__}\n"
                "start it with `aiproxy serve`, or say where it is with --url or $AIPROXY_URL"
            ) from None


def headers_of(key: str | None) -> dict[str, str]:
    """Return the headers that show a key, if there is one."""
    return {} if key is None else {"authorization": f"Bearer {key}"}


def _path(service: str, verb: str) -> str:
    return f"/api/v1/service/{quote(service, safe='')}/{verb}"


def refused(answer: httpx.Response) -> DaemonRefused:
    """Return the error that an answer is."""
    try:
        told = dict(answer.json()["error"])
        message = str(told["message"])
    except (KeyError, TypeError, ValueError):
        return DaemonRefused(
            answer.status_code, f"HTTP {answer.status_code} {answer.reason_phrase}"
        )
    return DaemonRefused(answer.status_code, message, told)
