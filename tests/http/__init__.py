"""Tests of everything that speaks HTTP, over real sockets."""
