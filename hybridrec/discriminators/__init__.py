"""Discriminators: joint from independent, real from generated."""
