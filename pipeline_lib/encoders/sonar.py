"""SONAR's speech encoder (Duquenne, Schwenk and Sagot 2023): the Conformer of the first w2v-BERT, up to its pooler.

Not w2v-BERT 2.0, though TalTech's paper calls it "Wav2Vec2-BERT" and its input is the same: the published encoders
stand on fairseq's w2v-BERT of 600 M parameters, which is the speech encoder of SeamlessM4T's first version too.

================== ===================================================== =========================================
part               SONAR, the first w2v-BERT                             w2v-BERT 2.0 (``Wav2Vec2BertModel``)
================== ===================================================== =========================================
positions          sinusoids of all distances (Dai et al. 2019)          a learned vector a distance, -64 to 8
depthwise          centred: 15 frames before and 15 behind               causal: 30 frames before
norm behind it     batch norm                                            layer norm
after the blocks   a layer norm                                          nothing
================== ===================================================== =========================================

So ``Wav2Vec2BertModel`` cannot hold these weights; the parts of transformers' SeamlessM4T can, and the class here puts
them together without the adaptor that SeamlessM4T has behind them. The layer norm stands at the end, before SONAR's
pooler, and the last hidden state is its output. SONAR's dropout of 0.1 behind it acts in training only and is left out.
"""

from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.seamless_m4t.modeling_seamless_m4t import (
    SeamlessM4TConformerEncoder,
    SeamlessM4TConformerEncoderLayer,
    SeamlessM4TConformerFeatureProjection,
    SeamlessM4TPreTrainedModel,
)
from transformers.utils.output_capturing import capture_outputs

MODEL_TYPE = "sonar-speech"


@strict
class SonarSpeechConfig(PreTrainedConfig):
    """Sizes; the defaults are the published encoders'."""

    model_type = MODEL_TYPE
    attribute_map = {  # names in the parts of SeamlessM4T
        "speech_encoder_layers": "num_hidden_layers",
        "speech_encoder_attention_heads": "num_attention_heads",
        "speech_encoder_intermediate_size": "intermediate_size",
        "speech_encoder_hidden_act": "hidden_act",
        "speech_encoder_dropout": "hidden_dropout",
        "speech_encoder_layerdrop": "layerdrop",
    }

    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    feature_projection_input_dim: int = 160
    conv_depthwise_kernel_size: int = 31
    position_embeddings_type: str = "relative"
    max_source_positions: int = 4096
    hidden_act: str = "swish"
    hidden_dropout: float | int = 0.0
    layerdrop: float | int = 0.0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02


class SonarSpeechModel(SeamlessM4TPreTrainedModel):
    """Filterbanks to hidden states, ``(batch, time, 160)`` to ``(batch, time, 1024)``.

    The batch norms stay in eval mode whatever the model's mode: in training they would take their statistics over the
    batch, padding included, and move what an adapter does not save. Their weights train where everything does.
    """

    config: SonarSpeechConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    input_modalities = "audio"
    _no_split_modules = ["SeamlessM4TConformerEncoderLayer"]
    _can_record_outputs = {"hidden_states": SeamlessM4TConformerEncoderLayer}

    def __init__(self, config: SonarSpeechConfig) -> None:
        """Put the parts together.

        Args:
            config: the sizes
        """
        super().__init__(config)
        self.feature_projection = SeamlessM4TConformerFeatureProjection(config)
        self.encoder = SeamlessM4TConformerEncoder(config)
        self.post_init()

    def train(self, mode: bool = True) -> "SonarSpeechModel":
        """Set the mode of everything but the batch norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    @capture_outputs
    def forward(self, input_features: Tensor, attention_mask: Tensor | None = None, **options: Any) -> BaseModelOutput:
        """Return the states after the final layer norm, shape ``(batch, time, 1024)``.

        Args:
            input_features: standardised filterbanks, two frames stacked, shape ``(batch, time, 160)``
            attention_mask: 1 where a frame is the utterance's own, shape ``(batch, time)``
            options: transformers' own, such as ``output_hidden_states``
        """
        hidden = self.feature_projection(input_features)
        return BaseModelOutput(last_hidden_state=self.encoder(hidden, attention_mask=attention_mask, **options))


AutoConfig.register(MODEL_TYPE, SonarSpeechConfig)
AutoModel.register(SonarSpeechConfig, SonarSpeechModel)
