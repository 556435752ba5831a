"""A trained system, the folder of a project, applied to any manifest."""
