"""The daemon as users run it: a process of its own, with real services behind it."""
