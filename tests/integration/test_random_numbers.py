"""Random numbers of generators that a preloaded module holds: no two scripts draw the same."""

from __future__ import annotations

import pytest

MODULE = """
    import random
    import numpy

    own = random.Random()
    seeded = random.Random(42)
    reseeded = random.Random()
    reseeded.seed(42)
    new = numpy.random.default_rng()
    new_seeded = numpy.random.default_rng(42)
    old = numpy.random.RandomState()
    old_seeded = numpy.random.RandomState(42)
    bits = numpy.random.PCG64()

    def draw():
        return {
            "global": random.random(),
            "own": own.random(),
            "new": new.random(),
            "old": old.random_sample(),
            "bits": bits.random_raw(),
            "global of numpy": numpy.random.random(),
        }

    def draw_again():
        return {
            "seeded": seeded.random(),
            "reseeded": reseeded.random(),
            "new_seeded": new_seeded.random(),
            "old_seeded": old_seeded.random_sample(),
        }
"""


@pytest.fixture
def drawn(preloading, script):
    """What two scripts have drawn."""
    main = preloading("holds_generators", MODULE)
    path = script(
        """
        import random, secrets, sys
        from pubsub import pub

        assert "holds_generators" in sys.modules, "it was preloaded"
        import holds_generators

        def main():
            assert random.Random.seed.__module__ == "random"
            assert secrets.randbits.__self__.__class__ is random.SystemRandom
            pub.sendMessage("drawn", once=holds_generators.draw(), again=holds_generators.draw_again())
        """
    )
    found = []
    for _ in range(2):
        uid = main.running(path)
        assert main.wait_for_end(uid).reason == "completed"
        found += main.said(uid, "drawn")
    return found


def test_a_generator_without_a_seed_has_other_numbers_in_each_script(drawn):
    first, second = (each["once"] for each in drawn)
    assert [name for name in first if first[name] == second[name]] == []


def test_a_generator_that_was_given_a_seed_keeps_it(drawn):
    first, second = (each["again"] for each in drawn)
    assert first == second
