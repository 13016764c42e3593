"""How a method of a client is made from the function that describes its request."""

from collections.abc import Callable
from functools import update_wrapper
from inspect import Parameter, signature
from typing import Any, TypeVar, get_args

Method = TypeVar("Method", bound=Callable[..., Any])


def described(method: Method, request: Callable[..., object]) -> Method:
    """The method with the request's name, words and arguments, for `help` and editors; it gives what the
    request's Call or Listing is of."""
    update_wrapper(method, request)
    said = signature(request)
    me = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    gives = get_args(said.return_annotation)[0]
    shown = said.replace(parameters=[me, *said.parameters.values()], return_annotation=gives)
    method.__signature__ = shown  # type: ignore[attr-defined]  # where `inspect` looks first
    return method
