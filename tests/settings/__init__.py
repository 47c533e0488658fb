"""Tests of the configuration: what is accepted, and what is said when it is not."""
