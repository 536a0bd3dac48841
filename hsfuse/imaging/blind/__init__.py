"""Blind estimation of the imaging model, out of a pair and nothing else."""
