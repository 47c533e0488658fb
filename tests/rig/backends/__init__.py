"""Servers that answer as the real ones do, by what is known of them, without any model."""
