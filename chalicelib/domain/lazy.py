"""Attributes computed when first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - used like `property`
    """`functools.cached_property` without the lock it takes in Python 3.11 at every first read.

    Two threads may compute the value twice, so it must depend on nothing but the object. A certificate has two
    dozen such attributes, and the locks took a tenth of a validation.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | lazy[T]:
        """The value, from now on an ordinary attribute."""
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
