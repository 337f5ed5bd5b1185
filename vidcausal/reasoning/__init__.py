"""Strategies: how to get from footage to an answer."""
