"""Tests of the templates: what they make of their options."""
