"""Imports something that is not installed."""
import absent_dependency
