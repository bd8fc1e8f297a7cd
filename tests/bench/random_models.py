"""Random models at every level against the ONNX reference evaluator: `python -m tests.bench.random_models --count 2000`.

Prints how many agree, how many are refused in one line, and each that is neither, with its text.
"""

import argparse
import warnings
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings
from rich.console import Console

from nmc.errors import NmcError
from tests.random_models import RandomModel, random_models
from tests.test_random_models import check_all_levels


def main() -> None:
    """Checks as many models as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    console, found = Console(), Counter[str]()

    @seed(chosen.seed)
    @settings(
        max_examples=chosen.count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(random_models())
    def check(random_model: RandomModel) -> None:
        outcome = outcome_of(random_model)
        found[outcome.partition(":")[0]] += 1
        if outcome != "agrees at every level":
            console.print(outcome, repr(random_model), sep="\n", highlight=False, markup=False)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check()
    console.print(dict(found))


def outcome_of(random_model: RandomModel) -> str:
    """What became of a model, in one line."""
    try:
        check_all_levels(random_model)
    except NmcError as error:
        return f"refused: {error}"
    except AssertionError as error:
        return f"disagrees: {' '.join(str(error).split())}"
    except Exception as error:  # what must not happen is what is looked for
        return f"ends in a traceback: {type(error).__name__} {error}"
    return "agrees at every level"


if __name__ == "__main__":
    main()
