"""Dense captions and summaries."""
