"""Conversion of compose files."""
