"""What accounts.py is made of."""
