"""The sections of `gpu.py`, a module each, and what they have in common."""
