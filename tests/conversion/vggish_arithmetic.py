"""VGGish's published layers at small sizes, and its arithmetic in NumPy: channels last, as TensorFlow has it.

Names and shapes stand here by themselves: nothing is taken from the converter.
"""

import numpy as np

ONE, TWO, THREE, FOUR = 3, 4, 5, 7  # channels
WIDE, WIDTH = 11, 8
TENSORFLOW = {
    "vggish/conv1/weights": (3, 3, 1, ONE),
    "vggish/conv1/biases": (ONE,),
    "vggish/conv2/weights": (3, 3, ONE, TWO),
    "vggish/conv2/biases": (TWO,),
    "vggish/conv3/conv3_1/weights": (3, 3, TWO, THREE),
    "vggish/conv3/conv3_1/biases": (THREE,),
    "vggish/conv3/conv3_2/weights": (3, 3, THREE, THREE),
    "vggish/conv3/conv3_2/biases": (THREE,),
    "vggish/conv4/conv4_1/weights": (3, 3, THREE, FOUR),
    "vggish/conv4/conv4_1/biases": (FOUR,),
    "vggish/conv4/conv4_2/weights": (3, 3, FOUR, FOUR),
    "vggish/conv4/conv4_2/biases": (FOUR,),
    "vggish/fc1/fc1_1/weights": (6 * 4 * FOUR, WIDE),
    "vggish/fc1/fc1_1/biases": (WIDE,),
    "vggish/fc1/fc1_2/weights": (WIDE, WIDE),
    "vggish/fc1/fc1_2/biases": (WIDE,),
    "vggish/fc2/weights": (WIDE, WIDTH),
    "vggish/fc2/biases": (WIDTH,),
}
PORT = {  # the torch port's name: TensorFlow's
    "features.0.weight": "vggish/conv1/weights",
    "features.0.bias": "vggish/conv1/biases",
    "features.3.weight": "vggish/conv2/weights",
    "features.3.bias": "vggish/conv2/biases",
    "features.6.weight": "vggish/conv3/conv3_1/weights",
    "features.6.bias": "vggish/conv3/conv3_1/biases",
    "features.8.weight": "vggish/conv3/conv3_2/weights",
    "features.8.bias": "vggish/conv3/conv3_2/biases",
    "features.11.weight": "vggish/conv4/conv4_1/weights",
    "features.11.bias": "vggish/conv4/conv4_1/biases",
    "features.13.weight": "vggish/conv4/conv4_2/weights",
    "features.13.bias": "vggish/conv4/conv4_2/biases",
    "embeddings.0.weight": "vggish/fc1/fc1_1/weights",
    "embeddings.0.bias": "vggish/fc1/fc1_1/biases",
    "embeddings.2.weight": "vggish/fc1/fc1_2/weights",
    "embeddings.2.bias": "vggish/fc1/fc1_2/biases",
    "embeddings.4.weight": "vggish/fc2/weights",
    "embeddings.4.bias": "vggish/fc2/biases",
}
POOLED_BEHIND = ("conv1", "conv2", "conv3/conv3_2", "conv4/conv4_2")


def drawn(seed: int = 0) -> dict[str, np.ndarray]:
    """Return random variables, float32, under TensorFlow's names."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in TENSORFLOW.items():
        scale = 0.1 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[:-1]))
        state[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
    return state


def port(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the same numbers as the torch port holds them: output channels in front."""
    made = {}
    for name, theirs in PORT.items():
        array = state[theirs]
        made[name] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T if array.ndim == 2 else array
    return {name: np.ascontiguousarray(array) for name, array in made.items()}


def vectors(state: dict[str, np.ndarray], patches: np.ndarray, *, channels_first: bool = False) -> np.ndarray:
    """Return what the layers make of patches ``(n, 96, 64)``, before a last ReLU, shape ``(n, WIDTH)``.

    Args:
        state: under TensorFlow's names
        patches: log mels
        channels_first: flatten the last map the wrong way
    """
    maps = patches[..., None].astype(np.float64)
    for layer in ("conv1", "conv2", "conv3/conv3_1", "conv3/conv3_2", "conv4/conv4_1", "conv4/conv4_2"):
        maps = _convolved(maps, state[f"vggish/{layer}/weights"], state[f"vggish/{layer}/biases"])
        if layer in POOLED_BEHIND:
            n, rows, columns, channels = maps.shape
            maps = maps.reshape(n, rows // 2, 2, columns // 2, 2, channels).max(axis=(2, 4))
    flat = (maps.transpose(0, 3, 1, 2) if channels_first else maps).reshape(len(maps), -1)
    for layer in ("fc1/fc1_1", "fc1/fc1_2", "fc2"):
        flat = flat @ state[f"vggish/{layer}/weights"] + state[f"vggish/{layer}/biases"]
        if layer != "fc2":
            flat = np.maximum(flat, 0)
    return flat


def _convolved(maps: np.ndarray, weights: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Return a 3 x 3 correlation with zeros around, and ReLU, channels last."""
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    made = np.zeros((*maps.shape[:3], weights.shape[3])) + biases
    for i in range(3):
        for j in range(3):
            made += padded[:, i : i + maps.shape[1], j : j + maps.shape[2]] @ weights[i, j]
    return np.maximum(made, 0)
