"""Causes and effects in videos and pictures."""
