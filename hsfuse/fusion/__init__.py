"""The main job's machinery: the plan of tiles, the methods, blending, and the engine that runs them."""
