"""Annotated as one writes it down, with what JSON has."""
import sys


def loaded(payload: dict, limit: int = 5) -> list:
    return [name for name in payload["of"] if name in sys.modules][:limit]
