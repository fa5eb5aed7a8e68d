"""A store on a bad day."""

import random
from typing import Any

from releases.problem import Unreachable
from releases.store import Store


class FlakyStore:
    """Any store; of its calls some fail before the effect, and of some the answer is lost after it."""

    def __init__(self, store: Store, seed: int, share: float = 0.05) -> None:
        self.store = store
        self.dice = random.Random(seed)
        self.share = share

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.store, name)

        def call(*given: Any) -> Any:
            if self.dice.random() < self.share:
                raise Unreachable("503")
            done = real(*given)
            if self.dice.random() < self.share:
                raise Unreachable("the answer was lost")
            return done

        return call
