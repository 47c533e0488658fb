"""Client libraries, each used as its documents say; tests/daemon/test_clients.py runs them."""
