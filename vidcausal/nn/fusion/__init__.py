"""How vision tokens enter the language model."""
