"""One transformer for audio, text and both: Chochlakis et al., "Modality-agnostic multimodal emotion recognition using
a contrastive masked autoencoder", sections 3.1 to 3.3.

Not published and chosen here: layer norm before the sublayers, GELU, four heads, a feed-forward layer of four widths
(all but GELU are settings); SEP stands between two modalities and nowhere else; a last audio token of fewer than k
frames is filled up with zeros; MASK replaces a token before the modality's type is added; exactly the masked share of
each modality's tokens is drawn, at least one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.networks.frames import Frames, cleared, pooled
from pipeline_lib.networks.mixers.transformer import Transformer
from pipeline_lib.params.network import MixerSettings

DOWNSAMPLED = "audio"  # has many more frames than text has tokens
DEVIATION = 0.02  # of the special tokens and types at first, as in BERT


@dataclass(frozen=True)
class Reconstruction:
    """Reconstruction of a modality's frames from the others and from its own unmasked frames.

    Attributes:
        estimate, target: shape ``(batch, time, width)``
        mask: positions that the error counts, bool, shape ``(batch, time)``
    """

    estimate: Tensor
    target: Tensor
    mask: Tensor


class SharedTransformer(nn.Module):
    """[CLS] audio [SEP] text through one transformer, whichever of the two are present; the vector is that of CLS.

    Args:
        widths: width of each modality's frames, modalities in order
        settings: ``width``, ``heads``, ``layers``, ``dropout``, ``shared_transformer``
    """

    def __init__(self, widths: dict[str, int], settings: MixerSettings) -> None:
        super().__init__()
        self.modalities = tuple(widths)
        self.settings, self.width, width = settings.shared_transformer, settings.width, settings.width
        k, encoder = self.settings.stride, self.settings.target == "encoder"
        self.projection, self.rebuilding = nn.ModuleDict(), nn.ModuleDict()
        for name, wide in widths.items():
            strided = name == DOWNSAMPLED
            self.projection[name] = nn.Conv1d(wide, width, k, stride=k) if strided else nn.Linear(wide, width)
            back = wide if encoder else width
            again = strided and encoder
            self.rebuilding[name] = nn.ConvTranspose1d(width, back, k, stride=k) if again else nn.Linear(width, back)
        self.cls, self.sep, self.masked = (nn.Parameter(DEVIATION * torch.randn(width)) for _ in range(3))
        self.types = nn.ParameterDict({name: nn.Parameter(DEVIATION * torch.randn(width)) for name in widths})
        self.transformer = Transformer(settings)
        self.g = nn.Sequential(nn.Linear(width, width), nn.ReLU()) if self.settings.projection else nn.Identity()

    def forward(self, frames: dict[str, Frames]) -> Tensor:
        """Return z of CLS, shape ``(batch, self.width)``.

        Args:
            frames: by modality
        """
        return self.contextual(frames)[0]

    def contextual(self, frames: dict[str, Frames]) -> tuple[Tensor, dict[str, Frames]]:
        """Return z of CLS, shape ``(batch, self.width)``, and z of each modality's tokens.

        Args:
            frames: by modality

        Returns:
            z of CLS; by modality its tokens, of values of shape ``(batch, n_tokens, self.width)``
        """
        return self._transformed(self.tokens(frames))

    def tokens(self, frames: dict[str, Frames]) -> dict[str, Frames]:
        """Return each modality's tokens h at the input of the transformer, equation 2.

        Args:
            frames: by modality

        Returns:
            by modality, values of shape ``(batch, n_tokens, self.width)``
        """
        tokens = {}
        for name, part in cleared(frames).items():
            if name == DOWNSAMPLED:
                filled = _filled(part, self.settings.stride)
                values = self.projection[name](filled.values.transpose(1, 2)).transpose(1, 2)
                mask = filled.mask.unflatten(1, (-1, self.settings.stride)).any(dim=2)
            else:
                values, mask = self.projection[name](part.values), part.mask
            tokens[name] = Frames(values, mask)
        return tokens

    def align(self, contextual: Frames) -> Tensor:
        """Return z^m of section 3.3, shape ``(batch, self.width)``: g of the mean of a unimodal pass's tokens.

        Args:
            contextual: z of the tokens, values of shape ``(batch, n_tokens, self.width)``
        """
        return self.g(pooled(contextual.cleared(), "mean"))

    def reconstruct(
        self, frames: dict[str, Frames], generator: torch.Generator | None = None
    ) -> dict[str, Reconstruction]:
        """Mask tokens, run the transformer and return each modality's reconstruction, section 3.2.

        Args:
            frames: by modality; gradients reach the target too, as equation 5 is written
            generator: of the masks; None takes torch's own
        """
        frames = cleared(frames)
        tokens = self.tokens(frames)
        hidden = {name: drawn(part.mask, self.settings.mask_share, generator) for name, part in tokens.items()}
        left = {
            name: Frames(torch.where(hidden[name][..., None], self.masked.to(part.values), part.values), part.mask)
            for name, part in tokens.items()
        }
        _, contextual = self._transformed(left)
        return {name: self._rebuilt(name, contextual[name], frames, tokens, hidden[name]) for name in tokens}

    def _transformed(self, tokens: dict[str, Frames]) -> tuple[Tensor, dict[str, Frames]]:
        some = next(iter(tokens.values()))
        n = len(some.values)
        cls, sep = (token.to(some.values).expand(n, 1, -1) for token in (self.cls, self.sep))
        values, masks = [cls], [some.mask.new_ones(n, 1)]
        spans: dict[str, slice] = {}
        earlier, time = some.mask.new_zeros(n), 1
        for name in (name for name in self.modalities if name in tokens):  # equation 3
            present = tokens[name].present
            if spans:
                values, masks, time = [*values, sep], [*masks, (earlier & present)[:, None]], time + 1
            values.append(tokens[name].values + self.types[name].to(some.values))
            masks.append(tokens[name].mask)
            spans[name] = slice(time, time := time + masks[-1].shape[1])
            earlier = earlier | present
        z = self.transformer(torch.cat(values, dim=1), torch.cat(masks, dim=1))
        return z[:, 0], {name: Frames(z[:, span], tokens[name].mask) for name, span in spans.items()}

    def _rebuilt(
        self, name: str, z: Frames, frames: dict[str, Frames], tokens: dict[str, Frames], hidden: Tensor
    ) -> Reconstruction:
        target, values = tokens[name], z.cleared().values
        if self.settings.target == "projected" or name != DOWNSAMPLED:
            estimate = self.rebuilding[name](values)  # equation 4
        else:
            estimate = self.rebuilding[name](values.transpose(1, 2)).transpose(1, 2)
            hidden = hidden.repeat_interleave(self.settings.stride, dim=1)
        if self.settings.target == "encoder":
            target = frames[name]
        time = target.mask.shape[1]  # the last audio token may have been filled up
        mask = target.mask & hidden[:, :time] if self.settings.reconstruct == "masked" else target.mask
        return Reconstruction(estimate[:, :time], target.values, mask)


def drawn(mask: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw the tokens to mask: of each row a share of the present ones, rounded, and at least one.

    Args:
        mask: True where a token exists, bool, shape ``(batch, n_tokens)``
        share: in (0, 1)
        generator: None takes torch's own

    Returns:
        True where a token is masked, bool, shape ``(batch, n_tokens)``
    """
    device = mask.device if generator is None else generator.device
    scores = torch.rand(mask.shape, generator=generator, device=device).to(mask.device).masked_fill(~mask, torch.inf)
    n_masked = (mask.sum(dim=1, keepdim=True) * share + 0.5).floor().clamp_min(1)
    return mask & (scores.argsort(dim=1).argsort(dim=1) < n_masked)


def _filled(frames: Frames, k: int) -> Frames:
    missing = -frames.mask.shape[1] % k
    return Frames(functional.pad(frames.values, (0, 0, 0, missing)), functional.pad(frames.mask, (0, missing)))
