"""The `oet` command as typer has it: what all commands have in common, and how one is added."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from .. import __version__
from . import _completion as completion
from ._shell import Shell

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, or COMPLETE; 1 FAILED; 2 usage; 3 refused; 4 STOPPED; 5 unreachable.",
)

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_COMMON = [
    inspect.Parameter(
        "device",
        _KEYWORD,
        default=None,
        annotation=Annotated[
            str | None,
            typer.Option(
                "--device",
                "-d",
                metavar="NAME",
                help="Tango name of the device; without it $OET_DEVICE, else the only OetDevice of the Tango database.",
                show_default=False,
                autocompletion=completion.devices,
            ),
        ],
    ),
    inspect.Parameter(
        "as_json",
        _KEYWORD,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help="Write JSON, one object a line; errors, too.")],
    ),
    inspect.Parameter(
        "utc",
        _KEYWORD,
        default=False,
        annotation=Annotated[bool, typer.Option("--utc", help="Times are UTC; else they are local.")],
    ),
    inspect.Parameter(
        "login",
        _KEYWORD,
        default=None,
        annotation=Annotated[
            str | None,
            typer.Option("--as", metavar="NAME", help="Who is said to ask; else the login name.", show_default=False),
        ],
    ),
]
_CONTEXT = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)


def _sign(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Have typer see these parameters."""
    parameters = sorted(parameters, key=lambda each: each.kind)
    function.__dict__.pop("__wrapped__", None)
    function.__dict__["__signature__"] = inspect.Signature(parameters)
    function.__annotations__ = {each.name: each.annotation for each in parameters}


def command(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a function as a command: it is given a Shell, and what its other parameters say; returns an exit status.

    :param name: of the command
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(ctx: typer.Context, **given: Any) -> Any:
            shell = _shell(ctx, given)
            shell.program = f"oet {name}"
            with shell.only_oet_devices():
                return function(shell, **given)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        _sign(call, [_CONTEXT, *own, *_COMMON])
        app.command(name)(call)
        return function

    return add


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"oet {__version__}")
        raise typer.Exit()


_VERSION = inspect.Parameter(
    "version",
    _KEYWORD,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--version", help="Say the version, and end.", callback=_say_version, is_eager=True)
    ],
)


@app.callback()
def root(ctx: typer.Context, version: bool = False, **given: Any) -> None:
    """Run scripts on an OetDevice, follow and stop them, and find out afterwards what has happened."""
    ctx.obj = given


_sign(root, [_CONTEXT, *_COMMON, _VERSION])


def _shell(ctx: typer.Context, given: dict[str, Any]) -> Shell:
    """Take what all commands have in common: it may stand before the command, or behind it."""
    before = ctx.obj or {}
    return Shell(**{each.name: given.pop(each.name) or before.get(each.name) or each.default for each in _COMMON})
