"""Training of a VideoLM: data, objectives, loop, exact resume."""
