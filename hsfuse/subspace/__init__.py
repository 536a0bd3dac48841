"""The spectral subspace of a scene: what networks and classical methods both stand on."""
