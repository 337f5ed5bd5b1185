"""Official annotations, parsers and scores."""
