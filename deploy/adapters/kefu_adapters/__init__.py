"""Two adapters to use, and to learn from: everything they know of Kefu is its client."""
