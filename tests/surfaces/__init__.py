"""Tests of the paths that clients know."""
