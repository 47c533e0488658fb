"""Tests of what is told of decisions."""
