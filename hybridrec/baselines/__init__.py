"""Closed-form and classic recommenders: the honest opponents."""
