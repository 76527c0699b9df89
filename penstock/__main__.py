"""Entry of the `penstock` command: exit status 0, 1 (failed) or 2 (misuse), and never a traceback for a known error."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from streams.errors import PenstockError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one subcommand and exit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        work = _edge if words[:1] == ["edge"] else _application()
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("typer", "rich"):
            raise
        sys.exit(f"penstock: the command line needs {error.name}; install it with: pip install 'penstock[cli]'")
    try:
        status = work(words)
    except PenstockError as error:
        print(f"penstock: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `penstock log dump | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if not hasattr(error, "exit_code") or not hasattr(error, "format_message"):
            raise
        error.show()  # type: ignore[attr-defined]  # a usage error of the command line parser
        sys.exit(error.exit_code)
    sys.exit(status if isinstance(status, int) else 0)


def _edge(words: list[str]) -> Any:
    """The agent's own subcommands, without what the others need: on a small device it is not there, and takes time."""
    from penstock.commands import edge

    return edge.main(words[1:])


def _application() -> Callable[[list[str]], Any]:
    from penstock.application import application

    return functools.partial(application(), standalone_mode=False)


if __name__ == "__main__":
    main()
