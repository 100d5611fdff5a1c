"""The command line: everything an operator does without a browser."""
