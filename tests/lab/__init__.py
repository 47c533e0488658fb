"""Experiments on files, and policies of other packages."""
