"""A step of a swap that was tried and did not succeed."""

from releases.status import Failure, Phase


class StepFailed(Exception):  # noqa: N818 - reads as what happened
    """Carries everything that a person will ask about it."""

    def __init__(
        self,
        phase: Phase,
        reason: str,
        *,
        elapsed: float | None = None,
        limit: float | None = None,
        last_answer: str = "",
        log_tail: tuple[str, ...] = (),
        next_step: str = "",
    ) -> None:
        super().__init__(reason)
        self.failure = Failure(
            phase=phase,
            reason=reason,
            elapsed=elapsed,
            limit=limit,
            last_answer=last_answer,
            log_tail=log_tail,
            next_step=next_step,
        )


class Interrupted(Exception):  # noqa: N818 - not an error
    """What is wanted has changed while we waited."""
