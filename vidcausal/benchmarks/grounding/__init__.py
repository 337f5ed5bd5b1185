"""Moments and highlights in time."""
