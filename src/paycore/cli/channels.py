"""`paycore channels`: what the loaded plugins can do, and the beginning of a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.lines import major
from paycore.cli.opening import host_of, settings_of
from paycore.cli.options import Config, Json
from paycore.cli.scaffolding import AlreadyThere, BadName, scaffold
from paycore.cli.screen import Screen, clean

if TYPE_CHECKING:
    from paycore.channel import ChannelKind, Method

app = typer.Typer(help="The channels of the installed plugins.", no_args_is_help=True)


@app.command("list")
def list_channels(config: Config = None, json: Json = False) -> None:
    """List the channels, and the plugins that could not be loaded."""
    host = host_of(settings_of(config))
    kinds = [_document(kind) for kind in host.kinds.values()]
    broken = [
        {"plugin": report.plugin, "state": report.state.value, "problem": report.problem}
        for report in host.reports
        if not report.channels
    ]
    screen = Screen(json)

    def draw() -> None:
        rows = [
            (one["channel"], one["title"]["en"], " ".join(m["method"] for m in one["methods"]), one["version"])
            for one in kinds
        ]
        screen.table(("CHANNEL", "NAME", "METHODS", "VERSION"), rows, empty="No channel is loaded.")
        for one in broken:
            screen.note(f"plugin {clean(one['plugin'])} is {one['state']}. {clean(one['problem'])}".strip())

    screen.show({"channels": kinds, "not_loaded": broken}, draw)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="The channel's name.", metavar="CHANNEL")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Show everything that a channel says of itself: methods, limits, verbs, settings."""
    kind = host_of(settings_of(config)).kind(name)
    if kind is None:
        raise Sorry(f"There is no channel {clean(name)}.", reason="CHANNEL_NOT_FOUND")
    screen = Screen(json)
    screen.show({"channel": _document(kind)}, lambda: _draw(screen, kind))


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="The channel's name: lower-case letters, digits, underscores.")],
    into: Annotated[Path, typer.Option(help="The folder that it is made in.", metavar="FOLDER")] = Path(),
    json: Json = False,
) -> None:
    """Make the folder of a new channel plugin: its tests run at once, its verbs are to be written."""
    try:
        made = scaffold(name, into)
    except BadName as error:
        raise Sorry(str(error), ExitCode.USAGE) from None
    except AlreadyThere as error:
        raise Sorry(clean(str(error))) from None
    screen, folder = Screen(json), into / name

    def draw() -> None:
        for path in made:
            screen.say(f"  {path}")
        screen.say(f"\nNow run `pytest` in {folder}: what fails says what is to be written.")
        screen.say("docs/write-a-channel.md walks through it.")

    screen.show({"folder": str(folder), "files": [str(path) for path in made]}, draw)


def _draw(screen: Screen, kind: ChannelKind) -> None:
    screen.say(f"{kind.name}  {kind.title.en} · {kind.title.zh}", "bold")
    refunds = "no refunds" if "refund" not in kind.verbs else "refunds"
    if kind.refund_window_seconds:
        refunds += f" within {kind.refund_window_seconds // 86400} days"
    screen.pairs(
        {
            "version": kind.version,
            "environments": ", ".join(kind.environments),
            "verbs": ", ".join(sorted(kind.verbs)),
            "refunds": refunds,
            "simulator": "yes" if kind.simulator else "no",
        }
    )
    screen.say("\nmethods", "bold")
    rows = [
        (
            method.name,
            method.title.en,
            method.scene,
            " ".join(method.step_kinds),
            " ".join(method.faces) or "any",
            " ".join(one.name for one in method.inputs),
            _limits(method),
        )
        for method in kind.methods
    ]
    screen.table(("METHOD", "NAME", "SCENE", "STEPS", "FACES", "INPUTS", "AMOUNTS"), rows)
    screen.say("\nsettings of an account", "bold")
    settings = [
        (one.name, one.title.en, "secret" if one.secret else "", "required" if one.required else one.default)
        for one in kind.settings
    ]
    screen.table(("SETTING", "NAME", "SECRET", "DEFAULT"), settings)


def _limits(method: Method) -> str:
    return ", ".join(
        f"{major(limit.least_minor, code)} to {major(limit.most_minor, code).split(' ')[-1]}"
        for code, limit in method.limits.items()
    )


def _document(kind: ChannelKind) -> dict[str, Any]:
    return {
        "channel": kind.name,
        "title": {"zh": kind.title.zh, "en": kind.title.en},
        "version": kind.version,
        "api_version": kind.api_version,
        "environments": [one.value for one in kind.environments],
        "verbs": sorted(verb.value for verb in kind.verbs),
        "refund_window_seconds": kind.refund_window_seconds,
        "refund_count": kind.refund_count,
        "has_simulator": kind.simulator is not None,
        "methods": [_method(one) for one in kind.methods],
        "settings": [
            {
                "name": one.name,
                "title": {"zh": one.title.zh, "en": one.title.en},
                "is_secret": one.secret,
                "is_required": one.required,
                "is_identity": one.identity,
                "default": one.default,
            }
            for one in kind.settings
        ],
    }


def _method(method: Method) -> dict[str, Any]:
    return {
        "method": method.name,
        "title": {"zh": method.title.zh, "en": method.title.en},
        "scene": method.scene,
        "step_kinds": list(method.step_kinds),
        "faces": list(method.faces),
        "targets": list(method.targets),
        "inputs": [one.name for one in method.inputs],
        "limits": {
            code: {"least_minor": limit.least_minor, "most_minor": limit.most_minor}
            for code, limit in method.limits.items()
        },
        "needs_app": method.needs_app,
        "expiry_min_seconds": method.expiry_min_seconds,
        "expiry_max_seconds": method.expiry_max_seconds,
        "price": method.price.value,
        "after_unknown": method.after_unknown.value,
        "may_pay_at_prepare": method.may_pay_at_prepare,
    }
