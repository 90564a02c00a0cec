"""Calling a function of a script: what it is given, and that it runs to its end, whatever kind of function it is.

Runs in the main thread of a worker.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from types import MethodType
from typing import Any

from ..script import ProcedureInput
from ._event_loop import ScriptLoop
from ._functions import ScriptCallError

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_LENIENT: dict[str, Any] = {}
if sys.version_info >= (3, 14):  # annotations are evaluated there, and may name what only a type checker imports
    import annotationlib

    _LENIENT = {"annotation_format": annotationlib.Format.FORWARDREF}


class Call:
    """A function of a script with its arguments.

    :ivar filled_in: the arguments that are the device's, since nobody has given them
    """

    def __init__(
        self, name: str, function: Callable[..., Any], given: ProcedureInput, filled_in: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self.function = function
        self.args, self.kwargs = given.args, given.kwargs
        self.filled_in = filled_in or {}

    def run(self, loop: ScriptLoop) -> Any:
        """Call it, and run what it returns, if that is something to be run: see `_runner_of`.

        :param loop: where it is awaited, if it must be
        :return: the function's value; of a generator what it returns
        :raises ScriptCallError: it returns what only `with` can run
        :raises BaseException: whatever it raises
        """
        value = self.function(*self.args, **self.kwargs)
        while value is not None and (runner := self._runner_of(value)) is not None:
            value = runner(loop, value)
        return value

    def _runner_of(self, value: Any) -> Callable[[ScriptLoop, Any], Any] | None:
        """Return what runs a value: a generator, what can be awaited, a future of a pool.  None: it is just a value."""
        if isinstance(value, Generator) and not inspect.isawaitable(value):  # a coroutine of old is both
            return _run_generator
        if isinstance(value, AsyncGenerator):
            return _run_async_generator
        if inspect.isawaitable(value):
            return ScriptLoop.run
        pools = sys.modules.get("concurrent.futures")
        if pools is not None and isinstance(value, pools.Future):
            return _result_of
        if isinstance(value, contextlib._GeneratorContextManagerBase) and hasattr(value, "func"):  # func: not entered
            raise ScriptCallError(
                f"{self.name} is a context manager, of which no line runs before it is entered: write a function that"
                " enters it, using `with`"
            )
        return None


def _run_generator(loop: ScriptLoop, generator: Generator[Any, None, Any]) -> Any:
    """Run a generator to its end; what it yields is no matter."""
    try:
        try:
            while True:
                next(generator)
        except StopIteration:
            raise
        except BaseException as error:  # also a signal between two steps: the generator is to know, and to clean up
            generator.throw(error)
            while True:
                next(generator)
    except StopIteration as end:
        return end.value


def _run_async_generator(loop: ScriptLoop, generator: AsyncGenerator[Any, None]) -> None:
    async def exhaust() -> None:
        try:
            async for _ in generator:
                pass
        finally:
            await generator.aclose()

    loop.run(exhaust())


def _result_of(loop: ScriptLoop, future: Any) -> Any:
    return future.result()


def bind(name: str, function: Callable[..., Any], given: ProcedureInput, context: dict[str, Any]) -> Call:
    """Return a call of `function` with the given arguments, and with what the device has for it.

    Where a parameter is called ``context``, and nobody has given it, it is the context.  Where one is called
    ``subarray_id`` it is the device's subarray, whatever default the function has.  Of a decorated function the
    parameters count that `functools.wraps` shows, if the decorator takes keyword arguments.

    :param name: what messages call the function
    :param context: what the device says of itself, as plain data
    :raises ScriptCallError: the arguments do not fit; the message shows the signature
    """
    own = _signature(function, followed=False)
    if own is None:  # built-in functions may have none
        return Call(name, function, given)
    wanted = _wanted(function, own, given)
    offered = {"context": context, "subarray_id": context.get("subarray_id")}
    filled = {key: offered[key] for key in wanted if offered[key] is not None}
    whole = ProcedureInput(*given.args, **{**given.kwargs, **filled}) if filled else given
    try:
        own.bind(*whole.args, **whole.kwargs)
    except TypeError as error:
        raise ScriptCallError(f"the arguments do not fit {name}{own}: {error}") from None
    filled.pop("context", None)  # not an argument of the observation
    return Call(name, function, whole, filled)


def shown_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the parameters that a client sees of a function; None where Python knows none."""
    own = _signature(function, followed=False)
    return own and _shown(function, own)


def _shown(function: Callable[..., Any], own: inspect.Signature) -> inspect.Signature:
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.parameters.values())
    return (takes_any and _signature(function, followed=True)) or own


def _wanted(function: Callable[..., Any], own: inspect.Signature, given: ProcedureInput) -> Iterator[str]:
    """Yield which of the device's arguments a function has a parameter for, and nobody has given."""
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.parameters.values())
    shown = _shown(function, own)  # it takes as long as all the rest
    for key in ("context", "subarray_id"):
        has_it = any(key in each.parameters and each.parameters[key].kind in _BY_KEYWORD for each in (shown, own))
        if not has_it or not (takes_any or key in own.parameters) or key in given.kwargs:
            continue
        if key not in _given_by_position(shown, given) and key not in _given_by_partial(function):
            yield key


def _given_by_position(signature: inspect.Signature, given: ProcedureInput) -> tuple[str, ...]:
    names = [name for name, each in signature.parameters.items() if each.kind in _BY_POSITION]
    return tuple(names[: len(given.args)])


def _given_by_partial(function: Any) -> set[str]:
    """Return the arguments that the script itself has given, using `functools.partial`."""
    given: set[str] = set()
    for _ in range(100):  # a chain of wrappers may be a ring
        if isinstance(function, functools.partial):
            given |= function.keywords.keys()
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        else:
            function = inspect.getattr_static(function, "__wrapped__", None)
        if function is None:
            break
    return given


def _signature(function: Callable[..., Any], *, followed: bool) -> inspect.Signature | None:
    try:
        return inspect.signature(function, follow_wrapped=followed, **_LENIENT)
    except Exception:  # TypeError and ValueError, and whatever a __signature__ of the script does
        return None
