"""Figures of this project, measured: `python -m benchmarks NAME [--json FILE]`."""
