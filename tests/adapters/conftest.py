"""The same running intake as the tests of intake have."""

from tests.intake.conftest import intake

__all__ = ["intake"]
