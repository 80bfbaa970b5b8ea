"""Raises while it is imported."""
raise RuntimeError("no model\nat \x1b[31mthis\x1b[0m place")
