"""Causal questions without a video: they test the reasoner alone."""
