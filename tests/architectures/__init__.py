"""Small networks of every kind, written with onnx.helper and seeded weights."""

from collections.abc import Callable, Mapping

from tests.architectures.graphs import message_passing
from tests.architectures.language import gpt2, mixture_of_experts
from tests.architectures.sequences import (
    bilstm_tagger,
    gru_classifier,
    temporal_convolution,
    text_recognition,
)
from tests.architectures.signals import audio_classifier, denoiser
from tests.architectures.vision import (
    detector,
    mobile_network,
    u_net,
    vision_transformer,
    window_attention,
)
from tests.architectures.writer import Architecture


def message_passing_on_given_edges() -> Architecture:
    """Message passing whose edges are an input."""
    return message_passing(given=True)


ARCHITECTURES: Mapping[str, Callable[[], Architecture]] = {
    builder.__name__: builder
    for builder in (
        bilstm_tagger,
        gru_classifier,
        u_net,
        vision_transformer,
        gpt2,
        message_passing,
        message_passing_on_given_edges,
        audio_classifier,
        denoiser,
        detector,
        mixture_of_experts,
        mobile_network,
        temporal_convolution,
        text_recognition,
        window_attention,
    )
}

TESTED = (
    "bilstm_tagger",
    "gru_classifier",
    "u_net",
    "vision_transformer",
    "gpt2",
    "message_passing",
    "message_passing_on_given_edges",
    "audio_classifier",
)
"""Those that the tests compile; the benchmark compiles all."""
