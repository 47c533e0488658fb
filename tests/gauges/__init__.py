"""Tests of the gauges."""
