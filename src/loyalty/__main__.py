"""`python -m loyalty` is the command `loyalty`."""

from loyalty.cli.main import main

main()
