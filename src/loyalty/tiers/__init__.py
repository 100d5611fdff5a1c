"""Tier sets, standings, reviews, progress and projection."""
