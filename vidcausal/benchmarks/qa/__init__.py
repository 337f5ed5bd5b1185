"""Video question answering."""
