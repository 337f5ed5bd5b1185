"""Vision encoders, projectors joined with language models, chat wrappers and their weights."""
