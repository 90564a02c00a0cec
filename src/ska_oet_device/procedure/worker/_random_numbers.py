"""Random numbers that no two scripts share, though all workers are forked from one template.

A fork copies the state of every generator that a preloaded module holds.  Those that have drawn their seed from the
system draw another one in each worker.  One that was given a seed keeps it: its numbers are meant to come again.
"""

from __future__ import annotations

import gc
import random
import secrets
import sys
import weakref
from typing import Any

_unseeded: weakref.WeakSet[random.Random] = weakref.WeakSet()
_generators: list[Any] = []  # NumPy's bit generators
_drawn: set[int] = set()
_python_seeds, _python_draws = random.Random.seed, secrets.randbits


def note_seeds() -> None:
    """Note from now on which generators draw their seed from the system.  In the template, before it preloads."""
    random.Random.seed = _seed  # type: ignore[method-assign]
    secrets.randbits = _draw


def find_generators() -> None:
    """Note the generators of NumPy that there are.  In the template, when all is preloaded."""
    _unseeded.discard(random._inst)  # Python sees to this one
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return
    found = (each for each in gc.get_objects() if isinstance(each, numpy_random.BitGenerator))
    _generators.extend(each for each in found if _entropy_of(each) in _drawn)


def draw_seeds() -> None:
    """Give each noted generator, and NumPy's global one, a seed of its own.  In a worker."""
    random.Random.seed, secrets.randbits = _python_seeds, _python_draws  # type: ignore[method-assign]
    for each in list(_unseeded):
        each.seed()
    for generator in _generators:
        generator.state = type(generator)().state
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    _python_seeds(self, a, version)
    if a is None:
        _unseeded.add(self)
    else:
        _unseeded.discard(self)


def _draw(k: int) -> int:
    """Draw so many bits; NumPy, which binds this name at its import, seeds its generators by it."""
    drawn = _python_draws(k)
    if secrets.randbits is _draw:
        _drawn.add(drawn)
    return drawn


def _entropy_of(generator: Any) -> int | None:
    """Return what a bit generator was seeded with; None: by no number, or in the older way."""
    entropy = getattr(getattr(generator, "seed_seq", None), "entropy", None)
    return entropy if isinstance(entropy, int) else None
