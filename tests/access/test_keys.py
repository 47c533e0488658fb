"""Keys are strong, are found by what is shown, and open what they are for."""

import pytest

from proxycore import ServiceId
from proxyserver.access import Key, Keyring, digest_of, hashed, new_key, weakness


def key(name: str, secret: str, *services: str) -> Key:
    digest = digest_of(hashed(secret))
    assert digest is not None
    return Key(name, digest, services=services or ("*",))


def test_new_keys_are_strong_and_never_alike() -> None:
    """They have 256 random bits, and pass as OpenAI's with clients that look."""
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {weakness(one) for one in keys} == {None}
    assert {one[:11] for one in keys} == {"sk-aiproxy-"}


def test_a_hash_is_that_of_every_tool() -> None:
    """`printf %s KEY | sha256sum` makes it too."""
    assert hashed("abc") == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:" + "A" * 64, "md5:" + "0" * 64, "0" * 64])
def test_what_is_no_hash_is_none(text: str) -> None:
    """Another form would be taken for a key that nobody has."""
    assert digest_of(text) is None


@pytest.mark.parametrize(
    ("weak", "why"),
    [
        ("", "is no key"),
        ("secret", "is too short"),
        ("a" * 40, "is too simple"),
        ("20261127-20261127-20261127", "is too simple"),
        ("a key with blanks that is long enough", "is no key"),
        ("schlüssel-schlüssel-schlüssel", "is no key"),
        ("x" * 257, "is no key"),
    ],
)
def test_weak_keys_are_told(weak: str, why: str) -> None:
    """And what is said has nothing of the key in it."""
    said = weakness(weak)
    assert said is not None
    assert said.startswith(why)
    assert weak[:6] not in said or not weak


def test_keys_are_found_by_themselves_alone() -> None:
    """Neither a part of one, nor its hash, nor another one is it."""
    secrets = [new_key() for _ in range(50)]
    keyring = Keyring(key(str(number), secret) for number, secret in enumerate(secrets))
    found = [keyring.find(secret.encode()) for secret in secrets]
    assert [one and one.name for one in found] == [str(number) for number in range(50)]
    first = secrets[0]
    for wrong in (first[:-1], first + "a", first.upper(), hashed(first), "", new_key()):
        assert keyring.find(wrong.encode()) is None


def test_a_digest_that_is_nearly_the_same_is_another() -> None:
    """The start of a digest finds the key; all of it decides."""
    secret = new_key()
    real = key("a", secret)
    assert Keyring([Key("b", real.digest[:8] + bytes(24))]).find(secret.encode()) is None


def test_nothing_tells_the_hash_of_a_key() -> None:
    """A log may show what is known of a key."""
    assert "digest" not in repr(key("a", new_key()))


@pytest.mark.parametrize(
    ("services", "opened"),
    [
        (("*",), {"chat", "coder", "router", "router/tiny"}),
        (("coder",), {"coder"}),
        (("c*",), {"chat", "coder"}),
        (("router",), {"router", "router/tiny"}),
        (("router/tiny",), {"router/tiny"}),
        (("router/*", "chat"), {"router/tiny", "chat"}),
        (("Coder", "code"), set()),
    ],
)
def test_a_key_opens_what_it_names(services: tuple[str, ...], opened: set[str]) -> None:
    """A server brings its models, a model does not bring its server."""
    one = key("a", new_key(), *services)
    there = ("chat", "coder", "router", "router/tiny")
    assert {name for name in there if one.may_use(ServiceId(name))} == opened
