"""Parts that turn vision features into language-model tokens."""
