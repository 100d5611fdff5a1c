"""Figures that are read off what is kept: reads only."""
