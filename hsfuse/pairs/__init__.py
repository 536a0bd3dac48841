"""A pair of scenes with its imaging model, and the same pair one Wald level down."""
