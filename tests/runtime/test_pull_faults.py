"""Why pulls fail: words that real engines said, and what is made of them."""

from pathlib import Path

import pytest

from proxyserver.runtime._pull_faults import PULL_FAULTS, pull_cause

# Those with 127.0.0.1 were said by Docker 20.10 in the tests of images; the others are from the
# sources of moby, containerd and distribution.
SEEN = [
    ("image_unknown", "manifest for 127.0.0.1:5/tiny:2 not found: manifest unknown"),
    ("image_unknown", "invalid reference format: repository name must be lowercase"),
    (
        "registry_login",
        (
            "pull access denied for acme/llm, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied"
        ),
    ),
    ("registry_login", 'Head "http://127.0.0.1:5/v2/tiny/manifests/1": no basic auth credentials'),
    ("registry_login", "unauthorized: authentication required"),
    ("registry_busy", "toomanyrequests: You have reached your pull rate limit."),
    ("registry_unreachable", 'Get "http://127.0.0.1:9/v2/": dial tcp: connect: connection refused'),
    ("registry_unreachable", "dial tcp: lookup nowhere.invalid on 10.0.0.2:53: no such host"),
    ("registry_unreachable", "net/http: TLS handshake timeout"),
    ("registry_unreachable", "unexpected EOF"),
    ("registry_unreachable", "x509: certificate signed by unknown authority"),
    ("image_platform", "no matching manifest for linux/arm64/v8 in the manifest list entries"),
    ("disk_full", "failed to register layer: write /usr/lib/a.so: no space left on device"),
    ("pull_failed", "unknown blob"),
]


@pytest.mark.parametrize(("kind", "words"), SEEN, ids=lambda value: str(value)[:40])
def test_words_become_a_cause(kind: str, words: str) -> None:
    """The image is named once, the words are kept, and what helps follows."""
    cause = pull_cause("tiny:2", words)
    assert cause.kind == kind
    assert words.rstrip(".") in cause.message
    assert cause.message.count("tiny:2") == 1


def test_every_pattern_is_known_by_its_words() -> None:
    """No pattern is there that nobody has seen."""
    assert {fault.kind for fault in PULL_FAULTS} - {kind for kind, _ in SEEN} == set()


@pytest.mark.parametrize("fault", PULL_FAULTS, ids=lambda fault: fault.kind)
def test_page_tells_of_it(fault: object) -> None:
    """With whether it heals."""
    page = (Path(__file__).parents[2] / "docs/reference/failures.md").read_text()
    kind, heals = getattr(fault, "kind", ""), getattr(fault, "heals", None)
    assert f"| `{kind}` | {'yes' if heals else 'no'} |" in page
