"""Tests of what people and collectors see of the daemon."""
