"""Reading e-mails as they really are: hostile, broken, and in every encoding ever used in China."""
