"""What callers give us as JSON: unknown fields are an error, null is as good as absent, and no text holds a NUL."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, model_validator

NO_NUL: Final = r"^[^\x00]*$"
"""PostgreSQL cannot store a NUL in a text."""


class Given(BaseModel):
    """Base of request bodies and directory objects."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        optional = {info.alias or name for name, info in cls.model_fields.items() if not info.is_required()}
        return {name: value for name, value in given.items() if value is not None or name not in optional}
