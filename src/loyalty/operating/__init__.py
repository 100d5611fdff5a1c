"""What an operator does from the command line, with the database at hand and no API in between."""
