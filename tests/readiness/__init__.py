"""Tests of readiness, against servers that behave badly."""
