"""Stands in for the mail server and the SMS provider: accepts everything, shows it, and can be told to misbehave."""
