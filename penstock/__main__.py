"""Entry of the `penstock` command: exit status 0, 1 (failed) or 2 (misuse), and never a traceback for a known error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from streams.errors import PenstockError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one subcommand and exit."""
    try:
        from penstock.application import application
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("typer", "rich"):
            raise
        sys.exit(f"penstock: the command line needs {error.name}; install it with: pip install 'penstock[cli]'")
    try:
        status = application()(arguments, standalone_mode=False)
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


if __name__ == "__main__":
    main()
