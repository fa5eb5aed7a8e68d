"""How our programs end: told in plain words, with an exit code that says which kind of end it was."""

import sys
from collections.abc import Callable
from typing import NoReturn

from releases.problem import BadInput, Cancelled, Problem, Refused, Superseded, Unreachable

CODES: dict[type[Problem], int] = {BadInput: 2, Refused: 3, Superseded: 3, Unreachable: 4}
CANCELLED = 130


def end_with(main: Callable[[], int | None]) -> NoReturn:
    """Run the program and exit; a mistake, a failure, a cancel is told without a traceback."""
    try:
        sys.exit(main())
    except Problem as problem:
        sys.stderr.write(f"error: {problem}\n")
        codes = [code for kind, code in CODES.items() if isinstance(problem, kind)]
        sys.exit(codes[0] if codes else 1)
    except Cancelled:
        sys.stderr.write("cancelled; what was live before is live\n")
    except KeyboardInterrupt:
        sys.stderr.write("cancelled\n")
    sys.exit(CANCELLED)
