"""The demo: everything from nothing with one command, on a year of real purchases."""
