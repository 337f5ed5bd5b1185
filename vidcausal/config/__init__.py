"""The only room that knows Hydra."""
