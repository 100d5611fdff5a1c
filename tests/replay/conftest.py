"""Commands run against an installation of their own."""

from tests.operating.installation import installation

__all__ = ["installation"]
