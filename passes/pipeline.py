"""The order of the lowering passes: level 1 to matrix form with exact functions."""

from collections.abc import Sequence

from tvm import ir

from passes.decompose_normalisation import decompose_normalisation
from passes.decompose_softmax import decompose_softmax
from passes.fold_affine import fold_affine
from passes.fold_into_weights import fold_into_weights
from passes.lower_arithmetic import lower_arithmetic
from passes.lower_comparisons import lower_comparisons
from passes.lower_convolution import lower_convolution
from passes.lower_gathers import lower_gathers
from passes.lower_pooling import lower_pooling
from passes.lower_reductions import lower_reductions
from passes.lower_sampling import lower_sampling
from passes.lower_transposed_convolution import lower_transposed_convolution
from passes.lower_unary import lower_unary
from passes.normalise_matmul import normalise_matmul
from passes.normalise_moves import normalise_moves
from passes.recognise_activations import recognise_activations
from passes.recognise_normalisation import recognise_normalisation
from passes.recognise_one_hot import recognise_one_hot
from passes.recognise_quantisation import recognise_quantisation
from passes.simplify import simplify


def lowering_passes() -> Sequence[ir.transform.Pass]:
    """The passes in order; each is a module pass and can stand in a tvm.transform.Sequential.

    What an exporter spelled out is recognised before anything is taken apart; norms and softmax become reductions and
    arithmetic before those are lowered; ranks and moves are made uniform last.
    """
    return [
        recognise_quantisation,
        simplify,
        recognise_one_hot,
        recognise_normalisation,
        recognise_activations,
        decompose_softmax,
        decompose_normalisation,
        lower_sampling,
        lower_arithmetic,
        lower_comparisons,
        lower_unary,
        fold_into_weights,
        lower_convolution,
        lower_transposed_convolution,
        lower_pooling,
        lower_gathers,
        lower_reductions,
        normalise_matmul,
        normalise_moves,
        fold_affine,
        simplify,
    ]
