"""A loyalty points backend: what it is and how its rooms fit together is told in docs/."""

__version__ = "0.1.0"
