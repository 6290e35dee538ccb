"""What two or more Kefu services share. Imports no service."""
