"""Choose a mixer by name."""

from collections.abc import Mapping

from torch import nn

from pipeline_lib.params.network import MixerSettings


def build(settings: MixerSettings, widths: Mapping[str, int]) -> nn.Module:
    """Return the mixer that the settings choose; its ``width`` is that of its vectors.

    Args:
        settings: the kind and its options
        widths: width of each modality's frames, modalities in order: ``{"audio": 1024, "text": 1024}``
    """
    match settings.kind:
        case "concatenation":
            from pipeline_lib.networks.mixers.concatenation import Concatenation as Mixer
        case "self_attention":
            from pipeline_lib.networks.mixers.self_attention import SelfAttention as Mixer
        case "cross_attention":
            from pipeline_lib.networks.mixers.cross_attention import CrossAttention as Mixer
        case "modality_attention":
            from pipeline_lib.networks.mixers.modality_attention import ModalityAttention as Mixer
        case "shared_transformer":
            from pipeline_lib.networks.mixers.shared_transformer import SharedTransformer as Mixer
        case "imagination":
            from pipeline_lib.networks.mixers.imagination import Imagination as Mixer
        case "late":
            from pipeline_lib.networks.mixers.late import Late as Mixer
    return Mixer(dict(widths), settings)
