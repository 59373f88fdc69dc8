"""Where files come from: one plugin a file."""
