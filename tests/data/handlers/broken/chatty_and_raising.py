"""Prints 10 MB while it is imported, then raises."""
from broken import chatty

raise RuntimeError("after much talk")
