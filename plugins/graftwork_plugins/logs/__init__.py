"""Books of experiments that runs are entered into."""
