"""Plain torch parts: masks, attention, projectors."""
