"""Origins: where files come from, by name or by URL."""
