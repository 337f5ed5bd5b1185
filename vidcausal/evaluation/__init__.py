"""Runs a strategy over a benchmark, resumably."""
