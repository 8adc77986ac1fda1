"""Objectives, as pure functions over tensors."""
