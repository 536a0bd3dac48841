"""Pictures of results; needs the `report` extra (matplotlib)."""
