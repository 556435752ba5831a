"""A trained system as one folder that opens anywhere: packed, verified, opened."""
