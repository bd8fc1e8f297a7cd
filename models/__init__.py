"""Real models with real data, which the demo and the tests compile. `models.get(name)` is the way in."""

from models.model import Array, DataSet, Model
from models.registry import NAMES, get

__all__ = ["NAMES", "Array", "DataSet", "Model", "get"]
