"""Keys are read as hashes, weak ones are refused, and without any nobody else gets in."""

import pytest

from proxyserver.access import Key, digest_of, hashed, new_key
from proxyserver.settings.show import as_written, resolved

from .writing import ENVIRON, Folder

KEY = "sk-aiproxy-0123456789abcdefghijklmnop"
NEEDED = (
    "3:9: server.host: 0.0.0.0: other machines can reach it there, and there are no keys: add one"
    " (`aiproxy keys new NAME` makes it), listen on 127.0.0.1, or say"
    " `server.allow_without_keys: true` where whoever reaches it may use it"
)


def digest(key: str) -> bytes:
    found = digest_of(hashed(key))
    assert found is not None
    return found


def server(*lines: str) -> str:
    return "\n".join(("server:", *(f"  {line}" for line in lines), "services: {}", ""))


def test_keys_are_read_wherever_they_are(folder: Folder) -> None:
    """As a hash, from the environment, from a file; what remains of them is the hash."""
    (folder.path / "ci.key").write_text(f"{KEY}-ci\n")
    text = server(
        "host: 0.0.0.0",
        "keys:",
        f"  laptop: {{hash: '{hashed(KEY)}', roles: [inference, admin]}}",
        "  cron: {key: '${env:CRON_KEY}', services: [coder, 'chat-*'], concurrency: 4}",
        "  ci: {key_file: ci.key, requests_per_minute: 60}",
    )
    settings = folder.load(text, {**ENVIRON, "CRON_KEY": KEY + "-cron"})
    assert settings.server.keys == (
        Key("laptop", digest(KEY), frozenset({"inference", "admin"})),
        Key("cron", digest(KEY + "-cron"), services=("coder", "chat-*"), concurrency=4),
        Key("ci", digest(KEY + "-ci"), requests_per_minute=60),
    )
    assert settings.server.listens_beyond
    assert KEY not in repr(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_needs_no_key(folder: Folder, host: str) -> None:
    """By default, too."""
    settings = folder.load(server(f"host: '{host}'"))
    assert (settings.server.keys, settings.server.listens_beyond) == ((), False)


def test_others_need_one(folder: Folder) -> None:
    """The message names every way out, and each of them is one."""
    assert folder.problems(server("", "host: 0.0.0.0")) == [NEEDED]
    folder.load(server("host: 0.0.0.0", "allow_without_keys: true"))
    folder.load(server("host: 0.0.0.0", f"keys: {{a: {{hash: '{hashed(KEY)}'}}}}"))
    assert len(folder.problems(server("host: gpu.lan"))) == 1
    assert len(folder.problems(server("host: '::'"))) == 1


BAD = {
    "keys:": "server.keys: has no key in it: add one, or leave it out",
    "keys: {}": "server.keys: has no key in it: add one, or leave it out",
    "keys: {a: {}}": "server.keys.a: needs one of hash, key, key_file, not none",
    f"keys: {{a: {{key: {KEY}, hash: '{hashed(KEY)}'}}}}": (
        "server.keys.a: needs one of hash, key, key_file, not hash and key"
    ),
    "keys: {a: {key: letmein}}": (
        "server.keys.a.key: is too short to be safe: it has 7 characters, of at least 22;"
        " `aiproxy keys new NAME` makes a good one"
    ),
    "keys: {a: {key: 1111111111111111111111111}}": (
        "server.keys.a.key: is too simple to be safe: it has 1 different characters;"
        " `aiproxy keys new NAME` makes a good one"
    ),
    "keys: {a: {hash: abc}}": (
        "server.keys.a.hash: is no hash of a key: `sha256:` and 64 hexadecimal digits;"
        " `aiproxy keys new NAME` makes a key and its hash"
    ),
    f"keys: {{a: {{key: {KEY}}}, b: {{hash: '{hashed(KEY)}'}}}}": (
        "server.keys.b: is the same key as 'a'"
    ),
    f"keys: {{a: {{key: {KEY}, roles: []}}}}": (
        "server.keys.a.roles: a key without roles is for nothing: inference, admin, metrics"
    ),
    f"keys: {{a: {{key: {KEY}, roles: [user]}}}}": (
        "server.keys.a.roles[0]: expected inference or admin or metrics, not 'user'"
    ),
    f"keys: {{a: {{key: {KEY}, role: admin}}}}": (
        "server.keys.a.role: unknown key; did you mean 'roles'?"
    ),
    f"keys: {{a: {{key: {KEY}, concurrency: 0}}}}": (
        "server.keys.a.concurrency: expected a whole number of at least 1, not 0"
    ),
    "hosts: ['*']": (
        "server.hosts[0]: without keys, any name would let in any web page: name the hosts"
    ),
    "hosts: [https://gpu.lan]": (
        "server.hosts[0]: 'https://gpu.lan' is no name of a host: gpu.lan or *.example.org,"
        " without scheme and port"
    ),
    "cors: ['*']": (
        "server.cors[0]: any page of any site is too much: name the origins, there may be many"
    ),
    "cors: ['null']": (
        "server.cors[0]: 'null' is no origin: https://chat.example.org, with a port where it has"
        " one, and nothing behind"
    ),
    "cors: [https://chat.example.org/]": (
        "server.cors[0]: 'https://chat.example.org/' is no origin: https://chat.example.org, with a"
        " port where it has one, and nothing behind"
    ),
    "host: 'no host'": (
        "server.host: 'no host' is no address and no name: 127.0.0.1, ::1, localhost, 0.0.0.0 or ::"
    ),
}


@pytest.mark.parametrize(("line", "said"), BAD.items(), ids=BAD)
def test_what_would_be_unsafe_is_refused(folder: Folder, line: str, said: str) -> None:
    """With the reason, at its place, and without the key."""
    problems = folder.problems(server(line))
    assert [one.split(": ", 1)[1] for one in problems] == [said]


def test_a_file_without_a_key_is_told(folder: Folder) -> None:
    """One that is missing, and one that has something else in it."""
    assert "no such file: " in folder.problems(server("keys: {a: {key_file: no.key}}"))[0]
    (folder.path / "a.key").write_bytes(b"\xff\n" * 5000)
    (problem,) = folder.problems(server("keys: {a: {key_file: a.key}}"))
    assert "is no key: up to 256 visible characters" in problem


def test_what_may_be_a_mistake_is_remarked(folder: Folder) -> None:
    """Plain HTTP, a name of no service, and nobody who may look at the proxy."""
    text = server("host: 0.0.0.0", "keys:", f"  a: {{key: {KEY}, services: [codre]}}").replace(
        "{}", "\n  coder: {process: {command: sh}, memory: {ram: 1MiB}}"
    )
    told = [one.message for one in folder.load(text).remarks if one.path.startswith("server")]
    assert told == [
        "0.0.0.0: keys and all else travel in the clear there; see `server.tls`",
        "'codre' is no service as of now; did you mean 'coder'?",
        "none has the role `admin`: `aiproxy status`, `stop` and so on are for nobody",
    ]


def test_names_and_origins_are_read(folder: Folder) -> None:
    """Hosts in lower case, as they are compared."""
    settings = folder.load(
        server("hosts: [GPU.lan, '*.example.org']", "cors: ['http://localhost:3000', 'app://a.md']")
    )
    assert settings.server.hosts == ("gpu.lan", "*.example.org")
    assert settings.server.cors == ("http://localhost:3000", "app://a.md")


def test_no_key_is_shown(folder: Folder) -> None:
    """Neither as it is written nor as it is understood; what the key is for is."""
    key = new_key()
    settings = folder.load(server("keys:", f"  a: {{key: {key}, services: [x]}}"))
    for shown in (as_written(settings.path), resolved(settings)):
        assert key not in str(shown)
        assert shown["server"]["keys"]["a"]["services"] == ["x"]
    assert as_written(settings.path)["server"]["keys"]["a"]["key"] == "***"
