"""The `latentstore` command: `main` runs one command line and turns every mistake into one line and an exit code.

Exit codes: 0 done; 1 the answer is no (a gate stayed closed, `verify` found damage); 2 a mistake in what was asked for;
130 interrupted. Modules of commands import what they need inside the command, so that a search does not wait for torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from latentstore.errors import LatentStoreError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: Without the program's name; by default those of this process.

    Returns:
        The exit code.
    """
    import typer

    from latentstore.cli import (  # noqa: F401 (each registers its commands)
        judging,
        maps,
        pipeline,
        queries,
        rows,
        sampling,
        serving,
        transfer,
        transport,
        upkeep,
        walks,
    )
    from latentstore.cli.app import app

    # Typer carries a copy of click from 0.27 on, and imports click before: ask the exception where it comes from.
    usage_error: type[Exception] = next(
        kind for kind in typer.BadParameter.__mro__ if issubclass(kind, Exception) and kind.__name__ == "ClickException"
    )
    command = typer.main.get_command(app)
    try:
        code = command.main(
            list(sys.argv[1:] if arguments is None else arguments), "latentstore", standalone_mode=False
        )
    except KeyboardInterrupt:
        return _say("interrupted; run the same command to go on", 130)
    except typer.Abort:
        return _say("interrupted", 130)
    except LatentStoreError as error:
        return _say(str(error), getattr(error, "exit_code", 2))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has enough: say nothing more, neither here nor at exit
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{where}{error.strerror or error}; check the path, its permissions and the space on its disk", 2)
    except usage_error as error:
        return _say(_usage(error), 2) if str(error) else 2  # no command at all: typer has shown the help
    if code == 130:
        return _say("interrupted; run the same command to go on", 130)
    return code if isinstance(code, int) else 0


def _usage(error: BaseException) -> str:
    """A mistake in the command line itself, with the way to the right page of help."""
    path = getattr(getattr(error, "ctx", None), "command_path", "latentstore")
    message = str(getattr(error, "format_message", error.__str__)()).strip().rstrip(".")
    return f"{message} See {path} --help" if message.endswith(("?", ")")) else f"{message}; see {path} --help"


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"{'error' if code != 130 else 'stopped'}: {line}\n")
    return code
