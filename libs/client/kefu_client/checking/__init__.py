"""The contract kit: it plays Kefu to an adapter, and says what was wrong."""
