"""Measurements of the running desk, each against a floor of the same run. Not part of what is served."""
