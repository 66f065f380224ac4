"""The command line: `paycore`, or `python -m paycore`."""

import sys

NEEDS_SERVER = "paycore: the command line comes with the server; install it with: pip install 'paycore[server]'"


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        import typer  # noqa: F401 - the base install has the client only
    except ModuleNotFoundError:
        sys.stderr.write(f"{NEEDS_SERVER}\n")
        raise SystemExit(4) from None
    from paycore.cli.main import run

    raise SystemExit(run())


if __name__ == "__main__":
    main()
