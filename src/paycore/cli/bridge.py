"""`paycore bridge`: why a payload would fail in an app, and the rules that each shell needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.opening import host_of, settings_of
from paycore.cli.options import Config, Json
from paycore.cli.screen import Screen, clean

if TYPE_CHECKING:
    from paycore_bridge.lint import Report
    from paycore_bridge.rules import ShellRule

app = typer.Typer(
    help="What apps and pages are handed: explain payloads, print the rules of shells.", no_args_is_help=True
)

_LONGEST = 256 * 1024
_TARGETS = ("android", "ios", "harmony", "webview", "mini_program", "mobile_web", "desktop", "tv_car")


@app.command("lint")
def lint(
    file: Annotated[
        str, typer.Argument(help="A file with a message, an envelope, a plan or an SDK's arguments; - for stdin.")
    ],
    target: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--target", help=f"Where it is going to run: {', '.join(_TARGETS)}.", metavar="TARGET"),
    ] = None,
    app_id: Annotated[str, typer.Option("--app-id", help="The app id that the SDK is registered with.")] = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Explain why a payload would fail: names and their case, seconds or milliseconds, numbers or texts, package, app id.

    No signature is proved, and no value of the payload is printed. Ends with 1 when something in it will not work.
    """
    from paycore_bridge import Target
    from paycore_bridge.lint import lint as explain

    if target is not None and target not in _TARGETS:
        raise Sorry(f"There is no target {clean(target)}; take one of {', '.join(_TARGETS)}.", ExitCode.USAGE)
    kinds = host_of(settings_of(config)).kinds.values()
    report = explain(
        _read(file),
        bridges=[kind.bridge for kind in kinds if kind.bridge is not None],
        target=None if target is None else Target(target),
        app_id=app_id,
        now=_now(),
    )
    screen = Screen(json)
    screen.show(_document(report), lambda: _draw(screen, report))
    if report.is_wrong:
        raise typer.Exit(ExitCode.REFUSED)


def _now() -> int:
    from paycore.engine.clock import SystemClock

    return SystemClock().now()


def _read(file: str) -> str:
    """The payload as text. What is not UTF-8 is no payload of ours."""
    try:
        data = sys.stdin.buffer.read(_LONGEST + 1) if file == "-" else _bytes(Path(file))
    except OSError as error:
        raise Sorry(f"The file {clean(file)} cannot be read: {error.strerror}.", ExitCode.USAGE) from None
    if len(data) > _LONGEST:
        raise Sorry(f"The file {clean(file)} is longer than {_LONGEST} bytes; that is no payload.", ExitCode.USAGE)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Sorry(f"The file {clean(file)} is not UTF-8; every payload of the bridge is.") from None


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST + 1)


def _document(report: Report) -> dict[str, object]:
    return {
        "looks_like": report.looks_like,
        "is_wrong": report.is_wrong,
        "findings": [
            {"level": one.level.value, "where": one.where, "what": one.what, "why": one.why} for one in report.findings
        ],
    }


def _draw(screen: Screen, report: Report) -> None:
    screen.say(f"This looks like {clean(report.looks_like)}.", "bold")
    if not report.findings:
        screen.say("Nothing in it is known to fail.", "green")
    for one in report.findings:
        screen.say(
            f"{one.level.value:5}  {clean(one.where) or 'the whole'} {clean(one.what)}",
            "red" if one.level == "wrong" else "yellow",
        )
        screen.say(f"       {clean(one.why)}", "dim")


@app.command("shells")
def shells(
    origins: Annotated[
        list[str], typer.Argument(help="The pages that may pay, such as https://pay.example.", metavar="ORIGIN...")
    ],
    shell: Annotated[str, typer.Option("--shell", help="Only this one: ios, android, harmony or frame.")] = "",
    json: Json = False,
) -> None:
    """Print the rules that each shell needs so that only these pages reach the bridge, ready to be pasted."""
    from paycore_bridge.rules import BadOrigin, shell_rules

    try:
        rules = shell_rules(origins)
    except BadOrigin as error:
        raise Sorry(f"That is no origin to let in: {error}.", ExitCode.USAGE) from None
    chosen = [rule for rule in rules if shell in ("", rule.shell)]
    if not chosen:
        raise Sorry(
            f"There is no shell {clean(shell)}; take one of {', '.join(rule.shell for rule in rules)}.", ExitCode.USAGE
        )
    screen = Screen(json)
    screen.show({"shells": [_rule(rule) for rule in chosen]}, lambda: _print(screen, chosen))


def _rule(rule: ShellRule) -> dict[str, object]:
    return {
        "shell": rule.shell,
        "title": rule.title,
        "language": rule.language,
        "text": rule.text,
        "remarks": list(rule.remarks),
    }


def _print(screen: Screen, rules: list[ShellRule]) -> None:
    for number, rule in enumerate(rules):
        screen.say(("\n" if number else "") + rule.title, "bold")
        screen.say(rule.text)
        for remark in rule.remarks:
            screen.say(f"- {remark}", "dim")
