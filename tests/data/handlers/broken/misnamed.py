"""Imports a name that is not there."""
from broken import no_such_name
