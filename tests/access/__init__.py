"""Tests of keys and their limits, which know nothing of HTTP."""
