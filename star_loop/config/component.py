"""The one constructor: validated, frozen, keyword-only, and deaf to no unknown key.

Every class that a configuration file can name (`_target_`) derives from `Component`; its fields are the keys.

Example:
    >>> class Cap(Component):
    ...     limit: int = 10
    >>> Cap(limit=3).limit
    3
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator


def _words(given: Any) -> Any:
    return str(given).split(",") if isinstance(given, str | int | float) else given


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""Several words: a list, or a text with commas."""

MOST_DRAWS = 10**6
"""Of one question in an iteration: more is a mistake, and no array of counts could hold any number."""


class Component(BaseModel):
    """A configurable part of an experiment: hyper-parameters, no resources, no mutable state.

    Building one touches neither disk nor GPU and imports no torch. `check` is where a component looks at the world.

    Raises:
        pydantic.ValidationError: an unknown key, a wrong type or a value out of range.
    """

    alone: ClassVar[bool] = False
    """Whether it is the only one of its kind, so that a key of this kind needs no `_target_`."""
    loads_base: ClassVar[bool] = False
    """Whether it needs the weights or the tokenizer of the base model."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False, protected_namespaces=()
    )

    @field_validator("*", mode="before")
    @classmethod
    def _means_something(cls, given: Any, info: ValidationInfo) -> Any:
        if (isinstance(given, bool) or given == "") and info.field_name is not None:
            wanted = cls.model_fields[info.field_name].annotation
            kinds = {wanted, *get_args(wanted)}
            if given == "" and Path in kinds:  # Python's empty path is the folder in which the command was typed
                raise ValueError("a path is wanted, or null")
            if given != "" and {int, float} & kinds and bool not in kinds:
                raise ValueError("a number is wanted")
        return given

    @property
    def needs_base(self) -> bool:
        """Tell whether it loads the base model as it is set."""
        return self.loads_base

    def check(self) -> None:
        """Look at the world (files, weights, packages) before anything expensive starts.

        Raises:
            ValueError: what is wrong, what was found, what to do.
        """
