"""The tree of commands, and the one place where what went wrong becomes a sentence and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
import typer.core

from paycore.cli import (
    accounts,
    anomalies,
    apps,
    auditing,
    bridge,
    calling,
    channels,
    demo,
    doctor,
    log,
    master,
    migrating,
    offers,
    orders,
    serving,
)
from paycore.cli.exits import ExitCode, Sorry, know
from paycore.cli.options import JSON_WANTED, Json
from paycore.cli.screen import Screen, clean, written

_HELP = """A payment core: one cashier, one order, one refund, whatever the channel.

Exit codes: 0 done · 1 refused, not found, or a check failed · 2 wrong usage · 3 not reachable now · 4 not set up
(old schema, missing key, wrong setting) · 70 a bug · 130 interrupted.
"""


class _Tree(typer.core.TyperGroup):
    """The root of all commands. No traceback and no secret leaves it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, KeyboardInterrupt, BrokenPipeError, EOFError):
            raise
        except Exception as error:  # noqa: BLE001 - the last door: whatever comes becomes one sentence
            raise typer.Exit(_say(error, as_json=JSON_WANTED in ctx.meta)) from None


app = typer.Typer(
    cls=_Tree,
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("serve")(serving.serve)
app.command("call")(calling.call)
app.command("migrate")(migrating.migrate)
app.command("doctor")(doctor.doctor)
app.command("audit")(auditing.audit)
app.command("log")(log.log)
app.add_typer(apps.app, name="apps")
app.add_typer(accounts.app, name="accounts")
app.add_typer(master.app, name="master-key")
app.add_typer(channels.app, name="channels")
app.add_typer(bridge.app, name="bridge")
app.add_typer(orders.app, name="orders")
app.add_typer(offers.app, name="offers")
app.add_typer(anomalies.app, name="anomalies")


@app.command()
def version(json: Json = False) -> None:
    """Print the version."""
    from paycore import __version__

    Screen(json).show({"version": __version__}, lambda: Screen().say(__version__))


@app.command()
def completion(shell: str = typer.Argument("bash", help="bash, zsh, fish or powershell.")) -> None:
    """Print the script that completes commands in a shell: eval "$(paycore completion bash)"."""
    if shell not in ("bash", "zsh", "fish", "powershell", "pwsh"):
        raise Sorry(f"There is no completion for {clean(shell)}; take bash, zsh, fish or powershell.", ExitCode.USAGE)
    os.environ["_PAYCORE_COMPLETE"] = f"source_{shell}"
    app(args=[], prog_name="paycore")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would write to stderr, we say in a sentence
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no check mark shows something else
    try:
        app(args=None if arguments is None else list(arguments), prog_name="paycore")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else ExitCode.REFUSED
    return ExitCode.OK


def _say(error: Exception, *, as_json: bool) -> int:
    known = know(error)
    if known is None:
        known = _bug(error)
    if as_json:
        sys.stderr.write(
            written({"error": {"exit": int(known.code), "reason": known.reason, "text": known.text}}) + "\n"
        )
    else:
        sys.stderr.write(f"paycore: {clean(known.text)}\n")
    return int(known.code)


def _bug(error: Exception) -> Sorry:
    """What nobody expected. Its own words may hold anything, so they are not repeated."""
    if os.environ.get("PAYCORE_DEBUG") == "1":
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    text = f"Something went wrong that should not: {type(error).__name__}{where}; PAYCORE_DEBUG=1 shows more."
    return Sorry(text, ExitCode.BUG)
