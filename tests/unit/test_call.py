"""Calling a function of a script: what it is given, and that it runs to its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import types

import pytest

from ska_oet_device.procedure.domain import ProcedureInput
from ska_oet_device.procedure.worker._call import bind
from ska_oet_device.procedure.worker._event_loop import ScriptLoop
from ska_oet_device.procedure.worker._functions import ScriptCallError

CONTEXT = {"wait_for_qa_ready": True, "subarray_id": 2}


@pytest.fixture
def loop():
    loop = ScriptLoop()
    yield loop
    loop.close()


def called(function, *args, **kwargs):
    return run(bind("main", function, ProcedureInput(*args, **kwargs), CONTEXT))


def run(call):
    loop = ScriptLoop()
    try:
        return call.run(loop)
    finally:
        loop.close()


def bare(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def polite(function):
    return functools.wraps(function)(bare(function))


def supplies_a_receiver(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function("receiver", *args)

    return wrapper


def plain(a, b=2):
    return a, b


def with_context(a, context):
    return a, context


def with_context_first(context, b=0):
    return context, b


def with_keyword_context(*, context=None):
    return context


def with_kwargs(**kwargs):
    return kwargs


def with_kwargs_called_context(**context):
    return context


def with_positional_context(context, /):
    return context


def forwards(*args, **kwargs):
    return args, kwargs


def of_receiver(receiver, number):
    return receiver, number


def on_subarray(subarray_id=1, number=0):
    return subarray_id, number


class Observation:
    def __init__(self, context=None):
        self.context = context

    def __call__(self, subarray_id):
        return subarray_id

    def observe(self, context):
        return context

    @classmethod
    def of_class(cls, context):
        return context


@functools.singledispatch
def dispatched(number):
    return "object", number


@dispatched.register
def _(number: int):
    return "int", number


class Inquiry:
    """As click's commands are: callable, with a main of its own that is given what it is called with."""

    def __call__(self, *args, **kwargs):
        return self.main(*args, **kwargs)

    def main(self, args=None, **extra):
        return args, extra


class TestWhatItIsGiven:
    @pytest.mark.parametrize(
        ("function", "given", "expected"),
        [
            (plain, ProcedureInput(1), (1, 2)),
            (plain, ProcedureInput(1, b=3), (1, 3)),
            (with_context, ProcedureInput(1), (1, CONTEXT)),
            (with_context, ProcedureInput(1, 5), (1, 5)),
            (with_context, ProcedureInput(1, context="mine"), (1, "mine")),
            (with_context_first, ProcedureInput(), (CONTEXT, 0)),
            (with_context_first, ProcedureInput("mine"), ("mine", 0)),
            (with_context_first, ProcedureInput("mine", 4), ("mine", 4)),
            (with_keyword_context, ProcedureInput(), CONTEXT),
            (with_kwargs, ProcedureInput(a=1), {"a": 1}),
            (with_kwargs, ProcedureInput(context=1), {"context": 1}),
            (with_kwargs, ProcedureInput(**{"self": 1}), {"self": 1}),
            (with_kwargs_called_context, ProcedureInput(), {}),
            (with_positional_context, ProcedureInput(3), 3),
            (lambda: "no arguments", ProcedureInput(), "no arguments"),
            (lambda context: context, ProcedureInput(), CONTEXT),
            (dict, ProcedureInput(a=1), {"a": 1}),
            (forwards, ProcedureInput(1, b=2), ((1,), {"b": 2})),
            (bare(plain), ProcedureInput(1), (1, 2)),
            (polite(plain), ProcedureInput(1), (1, 2)),
            (polite(with_context), ProcedureInput(1), (1, CONTEXT)),
            (polite(with_context_first), ProcedureInput("mine"), ("mine", 0)),
            (polite(polite(with_keyword_context)), ProcedureInput(), CONTEXT),
            (supplies_a_receiver(of_receiver), ProcedureInput(3), ("receiver", 3)),
            (functools.partial(plain, 1), ProcedureInput(), (1, 2)),
            (functools.partial(plain, b=7), ProcedureInput(1), (1, 7)),
            (functools.partial(with_context, 1), ProcedureInput(), (1, CONTEXT)),
            (functools.partial(with_context, context="the script's"), ProcedureInput(1), (1, "the script's")),
            (functools.partial(polite(with_context), context="the script's"), ProcedureInput(1), (1, "the script's")),
            (Observation().observe, ProcedureInput(), CONTEXT),
            (Observation.of_class, ProcedureInput(), CONTEXT),
            (Observation(), ProcedureInput(), 2),
            (dispatched, ProcedureInput(1), ("int", 1)),
            (dispatched, ProcedureInput("a"), ("object", "a")),
            (Inquiry(), ProcedureInput(), (None, {})),
            (Inquiry(), ProcedureInput(["-n", "3"]), (["-n", "3"], {})),
        ],
    )
    def test_is_what_plain_python_would_and_the_context_where_a_parameter_is_called_so(self, function, given, expected):
        assert run(bind("main", function, given, CONTEXT)) == expected

    @pytest.mark.parametrize(
        ("function", "given", "expected", "filled_in"),
        [
            (on_subarray, ProcedureInput(), (2, 0), {"subarray_id": 2}),
            (on_subarray, ProcedureInput(number=3), (2, 3), {"subarray_id": 2}),
            (on_subarray, ProcedureInput(5), (5, 0), {}),
            (on_subarray, ProcedureInput(subarray_id=5), (5, 0), {}),
            (on_subarray, ProcedureInput(subarray_id=None), (None, 0), {}),
            (polite(on_subarray), ProcedureInput(), (2, 0), {"subarray_id": 2}),
            (polite(on_subarray), ProcedureInput(5), (5, 0), {}),
            (bare(on_subarray), ProcedureInput(), (1, 0), {}),  # nothing shows that it has the parameter
            (functools.partial(on_subarray, number=4), ProcedureInput(), (2, 4), {"subarray_id": 2}),
            (functools.partial(on_subarray, 6), ProcedureInput(), (6, 0), {}),
            (functools.partial(on_subarray, subarray_id=6), ProcedureInput(), (6, 0), {}),
            (with_kwargs, ProcedureInput(), {}, {}),
            (lambda *, subarray_id: subarray_id, ProcedureInput(), 2, {"subarray_id": 2}),
        ],
    )
    def test_is_the_devices_subarray_where_nobody_has_given_one(self, function, given, expected, filled_in):
        call = bind("init", function, given, CONTEXT)
        assert (run(call), call.filled_in) == (expected, filled_in)

    def test_is_given_to_a_class_as_well(self):
        assert called(Observation).context == CONTEXT

    def test_is_no_subarray_where_none_is_known(self):
        assert run(bind("init", on_subarray, ProcedureInput(), {})) == (1, 0)

    @pytest.mark.parametrize(
        ("function", "given", "signature"),
        [
            (plain, ProcedureInput(), "main(a, b=2)"),
            (plain, ProcedureInput(1, 2, 3), "main(a, b=2)"),
            (plain, ProcedureInput(1, c=3), "main(a, b=2)"),
            (plain, ProcedureInput(1, a=3), "main(a, b=2)"),
            (functools.partial(plain, b=1), ProcedureInput(), "main(a, *, b=1)"),
            (Observation(), ProcedureInput(1, 2), "main(subarray_id)"),
            (lambda a: a, ProcedureInput(), "main(a)"),
            (with_context, ProcedureInput(), "main(a, context)"),
            (with_positional_context, ProcedureInput(), "main(context, /)"),
        ],
    )
    def test_that_does_not_fit_is_told_with_the_signature_and_the_name_that_was_asked_for(
        self, function, given, signature
    ):
        with pytest.raises(ScriptCallError) as caught:
            bind("main", function, given, CONTEXT)
        assert str(caught.value).startswith(f"the arguments do not fit {signature}: ")

    def test_is_left_as_it_was(self):
        given = ProcedureInput(a=1)
        run(bind("main", lambda **kwargs: kwargs.clear(), given, CONTEXT))
        assert given == ProcedureInput(a=1)

    def test_an_object_whose_signature_cannot_be_had_is_called_all_the_same(self):
        class Odd:
            __signature__ = "none"

            def __call__(self, *args):
                return args

        assert called(Odd(), 1) == (1,)


def generator(log):
    log.append("begin")
    got = yield 1
    log.append(got)
    yield asyncio.sleep  # what it yields is no matter
    return "end"


async def coroutine(log):
    await asyncio.sleep(0)
    log.append("awaited")
    return "end"


async def async_generator(log):
    log.append("begin")
    yield 1
    await asyncio.sleep(0)
    log.append("end")


@types.coroutine
def coroutine_of_old(log):
    yield from asyncio.sleep(0).__await__()
    log.append("awaited")
    return "end"


class Awaitable:
    def __init__(self, log):
        self.log = log

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        self.log.append("awaited")
        return "end"


class AsyncCallable:
    async def __call__(self, log):
        return await coroutine(log)


class HasMethods:
    def steps(self, log):
        return (yield from generator(log))

    async def awaits(self, log):
        return await coroutine(log)


class Steps:
    """A generator as a library of C makes it: it has the methods, and no frame of Python's."""

    def __init__(self, log):
        self.steps = generator(log)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.steps)

    def send(self, value):
        return self.steps.send(value)

    def throw(self, *error):
        return self.steps.throw(*error)

    def close(self):
        self.steps.close()


async def wraps_a_generator(log):
    return generator(log)


def starts_in_a_pool(log):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return pool.submit(lambda: log.append("in a pool") or "end")


class TestItRunsToItsEnd:
    @pytest.mark.parametrize(
        ("function", "logged"),
        [
            (generator, ["begin", None]),
            (bare(generator), ["begin", None]),
            (polite(generator), ["begin", None]),
            (functools.partial(generator), ["begin", None]),
            (HasMethods().steps, ["begin", None]),
            (lambda log: generator(log), ["begin", None]),
            (Steps, ["begin", None]),
            (wraps_a_generator, ["begin", None]),
            (coroutine, ["awaited"]),
            (bare(coroutine), ["awaited"]),
            (functools.partial(coroutine), ["awaited"]),
            (HasMethods().awaits, ["awaited"]),
            (AsyncCallable(), ["awaited"]),
            (functools.partial(AsyncCallable()), ["awaited"]),
            (coroutine_of_old, ["awaited"]),
            (Awaitable, ["awaited"]),
            (starts_in_a_pool, ["in a pool"]),
        ],
    )
    def test_whatever_kind_of_function_it_is(self, function, logged):
        log = []
        assert called(function, log) == "end"
        assert log == logged

    def test_an_async_generator_does(self):
        log = []
        assert called(async_generator, log) is None
        assert log == ["begin", "end"]

    def test_a_future_is_awaited_in_its_own_loop(self):
        log, own = [], asyncio.new_event_loop()
        assert called(lambda: own.create_task(coroutine(log))) == "end"
        assert log == ["awaited"]
        own.close()

    @pytest.mark.parametrize("value", [[1, 2], "text", {"a": 1}, iter([1]), map(str, [1]), range(3), 0, False, None])
    def test_what_is_just_a_value_is_returned(self, value):
        assert called(lambda: value) is value

    def test_a_context_manager_that_nobody_enters_is_refused(self):
        @contextlib.contextmanager
        def main():
            yield

        with pytest.raises(ScriptCallError, match="main is a context manager"):
            called(main)

    def test_nothing_of_it_runs_before_it_is_called(self):
        bind("main", lambda: pytest.fail("called"), ProcedureInput(), CONTEXT)

    @pytest.mark.parametrize("kind", ["def main():\n yield\n raise KeyError", "async def main(): raise KeyError"])
    def test_what_it_raises_comes_out(self, kind):
        names = {}
        exec(kind, names)
        with pytest.raises(KeyError):
            called(names["main"])


class Told(KeyboardInterrupt):
    """What a stop raises, here where a step has just returned."""


class TestItsCleanUp:
    def test_a_generator_sees_what_interrupts_it_between_two_steps(self):
        log = []

        class Interrupted(Steps):
            def __next__(self):
                next(self.steps)
                if len(log) == 1:
                    raise Told

        def main():
            try:
                log.append("begin")
                yield 1
                log.append("not reached")
            except BaseException as error:
                log.append(type(error))
                yield 2
                log.append("cleaned")
                raise

        steps = Interrupted(log)
        steps.steps = main()
        with pytest.raises(Told):
            called(lambda: steps)
        assert log == ["begin", Told, "cleaned"]

    def test_the_loop_cleans_up_as_asyncios_does(self, loop):
        log = []

        async def beside():
            try:
                await asyncio.sleep(60)
            finally:
                log.append("task")

        async def steps():
            try:
                yield 1
            finally:
                log.append("async generator")

        async def main():
            asyncio.get_running_loop().run_in_executor(None, log.append, "thread")
            task, generator = asyncio.create_task(beside()), steps()
            await anext(generator)
            asyncio.get_running_loop().call_soon(interrupt)
            try:
                await task
            finally:
                await asyncio.sleep(0)
                log.append("main")

        def interrupt():
            raise Told

        with pytest.raises(Told):
            loop.run(main())
        assert sorted(log) == ["async generator", "main", "task", "thread"]

    def test_a_clean_up_that_fails_takes_the_place_of_the_interrupt(self, loop):
        async def main():
            asyncio.get_running_loop().call_soon(interrupt)
            try:
                await asyncio.sleep(60)
            finally:
                raise RuntimeError("park failed")

        def interrupt():
            raise Told

        with pytest.raises(RuntimeError, match="park failed") as caught:
            loop.run(main())
        assert isinstance(caught.value.__context__, Told)


class TestTheLoop:
    def test_is_one_for_all_functions(self, loop):
        log = []

        async def init():
            global task
            task = asyncio.create_task(goes_on())

        async def goes_on():
            await asyncio.sleep(0.01)
            log.append("went on")
            return asyncio.get_running_loop()

        async def main():
            return await task is asyncio.get_running_loop()

        loop.run(init())
        assert loop.run(main())
        assert log == ["went on"]

    def test_keeps_context_variables(self, loop):
        import contextvars
        import sys

        if sys.version_info < (3, 11):
            pytest.skip("a task is given its context from 3.11 on")
        variable = contextvars.ContextVar("variable")

        async def init():
            variable.set(3)

        async def main():
            return variable.get()

        loop.run(init())
        assert loop.run(main()) == 3

    def test_is_there_again_after_asyncio_run_of_the_script(self, loop):
        async def nothing():
            return asyncio.get_running_loop()

        first = loop.run(nothing())
        assert asyncio.run(nothing()) is not first
        assert loop.run(nothing()) is first
        assert asyncio.get_event_loop_policy().get_event_loop() is first

    def test_is_of_the_policy_that_the_script_has_set(self, loop):
        class Own(asyncio.SelectorEventLoop):
            pass

        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                return Own()

        async def main():
            return type(asyncio.get_running_loop())

        asyncio.set_event_loop_policy(Policy())
        try:
            assert loop.run(main()) is Own
        finally:
            loop.close()
            asyncio.set_event_loop_policy(None)

    def test_is_closed_once_and_may_be_closed_again(self, loop):
        async def nothing():
            return asyncio.get_running_loop()

        loop.close()
        made = loop.run(nothing())
        loop.close()
        assert made.is_closed()
        loop.close()
