"""Simulations: traces, the fast machine, the offline optimum."""
