"""Tests of the runtimes: one contract for all, and what is special about each."""
