"""What a fused image is held against: a reference, or both images that it was made of; and what methods cost."""
