"""Imports a module of ours that imports something that is not installed."""
from broken import needing
