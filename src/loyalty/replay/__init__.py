"""Sends real purchases to a running API: reads them, keeps their order per member, and counts what came of them."""
