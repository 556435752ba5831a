"""Published VGGish weights -> a folder that ``encoder.checkpoint`` loads.

``ser convert vggish vggish.npz models/vggish``

Google publishes a checkpoint of TensorFlow 1, ``vggish_model.ckpt``, which nothing here reads. Where TensorFlow is,
these lines make ``vggish.npz`` of it::

    import numpy, tensorflow
    reader = tensorflow.train.load_checkpoint("vggish_model.ckpt")
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("vggish/")]
    numpy.savez("vggish.npz", **{name: reader.get_tensor(name) for name in names})

Or take the torch port's file, ``vggish-10086976.pth``: the same numbers, convolutions and layers turned round. Both
flatten the last map with the channels last, and so does ``encoders.vggish``; a port that flattens channels first has
the same shapes and would be wrong in silence. So the folder is tested: Google's test sound, 3 s of a sine of 1 kHz, has
vectors (before any ReLU) of mean 0.000657 and deviation 0.343, and the folder's result is printed beside these.

``--pca vggish_pca_params.npz`` puts the published postprocessing behind it, ``--no-final-relu`` takes the last ReLU
away; ``encoders.vggish`` lists which implementation does which. Any name that is not known, and any that is missing, is
an error.

The names are from Google's definition and the port's; the tests compare them with a list and a convolution of their
own, on random weights. The published files were not available: that they hold these names and nothing that is refused,
and that the test sound comes out as published, has not been tried; nor have the lines above, for want of TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.conversion import files
from pipeline_lib.encoders.vggish import MODEL_TYPE, LogMelPatches, VggishConfig, VggishModel
from pipeline_lib.errors import InputError

LAYERS = {  # ours, before .weight and .bias: TensorFlow's, before /weights and /biases
    "feature_extractor.0": "vggish/conv1",
    "feature_extractor.3": "vggish/conv2",
    "feature_extractor.6": "vggish/conv3/conv3_1",
    "feature_extractor.8": "vggish/conv3/conv3_2",
    "feature_extractor.11": "vggish/conv4/conv4_1",
    "feature_extractor.13": "vggish/conv4/conv4_2",
    "embeddings.0": "vggish/fc1/fc1_1",
    "embeddings.2": "vggish/fc1/fc1_2",
    "embeddings.4": "vggish/fc2",
}
WIDTHS = ("feature_extractor.0", "feature_extractor.3", "feature_extractor.8", "feature_extractor.13")
MATRIX, MEANS = "pca_eigen_vectors", "pca_means"
PUBLISHED_MEAN, PUBLISHED_DEVIATION = 0.000657, 0.343
TOLERANCE = 0.1  # Google's own, of both


def convert(checkpoint: Path, out: Path, pca: Path | None = None, *, final_relu: bool = True) -> list[str]:
    """Write the folder: config.json and model.safetensors (float32).

    Args:
        checkpoint: an .npz of TensorFlow's variables, or the torch port's state dict
        out: a folder that does not exist yet, or that an earlier conversion wrote
        pca: the published PCA; None leaves postprocessing out
        final_relu: whether the vectors go through a last ReLU

    Returns:
        sentences on the tensors that were kept, and on the vectors of Google's test sound

    Raises:
        InputError: a file is damaged, holds more than tensors, or is of another model; the folder holds something else
    """
    files.check_target(out, MODEL_TYPE)
    kept = weights(checkpoint)
    fully_connected, width = kept["embeddings.2.weight"].shape[0], kept["embeddings.4.weight"].shape[0]
    sizes = {
        "channels": [kept[f"{layer}.weight"].shape[0] for layer in WIDTHS],
        "fully_connected_size": fully_connected,
        "hidden_size": width,
    }
    bare = VggishConfig(**sizes, final_relu=False)
    _check_shapes(kept, bare, checkpoint)
    mean, deviation = statistics(bare, kept)
    n_parameters = sum(tensor.numel() for tensor in kept.values())
    summary = f"kept {len(kept)} tensors ({n_parameters:,} numbers): vectors of width {width}"
    sentences = [summary, _verdict(mean, deviation)]
    if pca is not None:
        kept |= postprocessing(pca, width)
        sentences.append(f"postprocessing from {pca}: whole numbers from 0 to 255")
    config = VggishConfig(**sizes, final_relu=final_relu, postprocess=pca is not None)
    files.write(out, config, VggishModel.__name__, kept)
    return sentences


def weights(checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights under the names of ``VggishModel``, float32, with the output dimension first.

    Returns:
        convolutions, shape ``(out, in, rows, columns)``, and linear layers, ``(out, in)``; biases, ``(out,)``

    Raises:
        InputError: the file cannot be read, a name is missing or unknown, or a number is not finite
    """
    if checkpoint.suffix == ".npz":
        published = {name.removesuffix(":0"): array for name, array in files.arrays(checkpoint).items()}
        theirs = {
            f"{ours}.{kind}": f"{layer}/{called}"
            for ours, layer in LAYERS.items()
            for kind, called in (("weight", "weights"), ("bias", "biases"))
        }
        what = "VGGish's TensorFlow variables"
    else:
        published = files.state_dict(checkpoint, "vggish.npz or the torch port's vggish-10086976.pth")
        names = (f"{ours}.{kind}" for ours in LAYERS for kind in ("weight", "bias"))
        theirs = {name: name.replace("feature_extractor", "features") for name in names}
        what = "the torch port of VGGish"
    if missing := sorted(set(theirs.values()) - set(published)):
        raise InputError(f"{checkpoint} lacks {len(missing)} tensors of {what}, {missing[0]!r} first")
    if unknown := sorted(set(published) - set(theirs.values())):
        raise InputError(f"{checkpoint} has {len(unknown)} tensors beside those of {what}, {unknown[0]!r} first")
    kept = {}
    for ours, name in theirs.items():
        tensor = _turned(published[name]) if checkpoint.suffix == ".npz" else published[name]
        _check_finite(tensor, checkpoint, name)
        kept[ours] = tensor.float().contiguous()
    return kept


def postprocessing(pca: Path, width: int) -> dict[str, Tensor]:
    """Return the published PCA under the names of ``VggishModel``.

    Args:
        pca: an .npz file
        width: of the vectors

    Returns:
        the matrix, shape ``(width, width)``, and the means, shape ``(width,)``, float32

    Raises:
        InputError: the file cannot be read, or is of another width
    """
    published = files.arrays(pca)
    if set(published) != {MATRIX, MEANS}:
        raise InputError(f"{pca} holds {sorted(published)}, expected {[MATRIX, MEANS]} as in the published PCA")
    matrix, means = published[MATRIX], published[MEANS].flatten()
    if matrix.shape != (width, width) or means.shape != (width,):
        shapes = f"{tuple(matrix.shape)} and {tuple(published[MEANS].shape)}"
        raise InputError(f"{pca} holds a PCA of shapes {shapes}, expected the vectors' width {width}")
    for name in (MATRIX, MEANS):
        _check_finite(published[name], pca, name)
    return {"postprocessing.matrix": matrix.float().contiguous(), "postprocessing.means": means.float().contiguous()}


@torch.no_grad()
def statistics(config: VggishConfig, tensors: Mapping[str, Tensor]) -> tuple[float, float]:
    """Return mean and deviation over all elements of the vectors of 3 s of a sine of 1 kHz at 16 kHz.

    Args:
        config: of the model
        tensors: see ``weights``, of the shapes that the configuration implies
    """
    with torch.device("meta"):
        model = VggishModel(config)
    model.load_state_dict(tensors, assign=True)
    sound = np.sin(2 * np.pi * 1000 * np.arange(3 * 16_000) / 16_000)
    vectors = model(LogMelPatches()([sound])["input_features"]).last_hidden_state
    return float(vectors.mean()), float(vectors.std(correction=0))


def _verdict(mean: float, deviation: float) -> str:
    near = abs(mean - PUBLISHED_MEAN) <= TOLERANCE * PUBLISHED_MEAN
    near = near and abs(deviation - PUBLISHED_DEVIATION) <= TOLERANCE * PUBLISHED_DEVIATION
    published = f"Google's VGGish {PUBLISHED_MEAN:g} and {PUBLISHED_DEVIATION:g}"
    guess = "the same" if near else "so these are NOT the published weights, or they are turned wrongly"
    return f"vectors of the test sound have mean {mean:.6f} and deviation {deviation:.3f}, {published}: {guess}"


def _turned(tensor: Tensor) -> Tensor:
    """Return TensorFlow's weights as torch has them: (rows, columns, in, out) and (in, out) with out in front."""
    return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T if tensor.ndim == 2 else tensor


def _check_shapes(kept: Mapping[str, Tensor], config: VggishConfig, path: Path) -> None:
    with torch.device("meta"):
        expected = VggishModel(config).state_dict()
    for name, like in expected.items():
        if kept[name].shape != like.shape:
            shapes = f"{tuple(kept[name].shape)}, expected {tuple(like.shape)} by the other tensors"
            raise InputError(f"{path}: {name!r} has, turned as torch has it, shape {shapes}")


def _check_finite(tensor: Tensor, path: Path, name: str) -> None:
    if not tensor.is_floating_point():
        raise InputError(f"{path}: {name!r} holds {tensor.dtype}, expected floating point")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{path}: {name!r} holds a number that is not finite (is the file damaged?)")
