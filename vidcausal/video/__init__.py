"""From a file to frames with true times."""
