"""Pure functions over plain numbers."""
