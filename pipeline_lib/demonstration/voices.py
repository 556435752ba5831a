"""Voices: eSpeak NG's English accents times its voice variants, each variant in one split only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    Args:
        name: speaker name in the corpus
        espeak: voice name that the synthesiser understands
        gender: ``female`` or ``male``, as the variant was meant
    """

    name: str
    espeak: str
    gender: str


ACCENTS = ("en", "en-US", "en-GB-scotland", "en-GB-x-rp", "en-GB-x-gbclan", "en-GB-x-gbcwmd", "en-029")
FEMALE = (
    "f1", "f4", "Andrea", "Annie", "anika", "aunty", "belinda", "linda", "grandma", "steph", "steph3", "shelby",
)  # fmt: skip

# f2, f3, f5, Alicia, victor and sandro are left out: the library reads memory it never wrote, and no two runs agree.
_TRAIN = (
    "m2 en", "f1 en-US", "Andy en-GB-scotland", "Annie en-GB-x-rp", "Hugo en", "Henrique en-US", "michel en-029",
    "miguel en-GB-x-gbclan", "Diogo en-GB-x-gbcwmd", "m8 en-US", "belinda en", "belinda en-US", "marcelo en-GB-x-rp",
    "aunty en-GB-scotland", "paul en", "aunty en-US", "gustave en-029", "m7 en-GB-x-gbclan", "f1 en-GB-x-gbcwmd",
    "Annie en-US",
)  # fmt: skip
_DEV = (
    "m3 en", "m3 en-GB-scotland", "steph en-US", "steph3 en-GB-x-rp", "benjamin en-US", "Mario en-GB-x-gbclan",
    "ian en-029", "grandma en", "quincy en-GB-x-rp", "norbert en-US",
)  # fmt: skip
_TEST = (
    "m4 en", "m4 en-US", "m6 en-GB-x-rp", "m6 en-GB-scotland", "f4 en-US", "f4 en-GB-scotland", "Andrea en",
    "Andrea en-029", "robert en-US", "boris en", "john en-GB-x-gbclan", "max en-GB-x-gbcwmd",
)  # fmt: skip
_CHECKPOINT = (
    "m1", "m5", "linda", "anika", "shelby", "Alex", "Denis", "Mike", "Michael", "Gene", "Gene2", "Storm", "antonio",
    "pablo", "rob", "klatt2", "klatt4", "adam", "david", "Lee", "grandpa", "ed", "travis", "Reed", "fast", "iven3",
    "edward", "edward2", "Nguyen", "Jacky", "klatt3", "AnxiousAndy",
)  # fmt: skip


def _voice(variant: str, accent: str) -> Voice:
    gender = "female" if variant in FEMALE else "male"
    return Voice(f"{variant}_{accent}", f"gmw/{accent}+{variant}", gender)


VOICES = {
    "train": tuple(_voice(*names.split()) for names in _TRAIN),
    "dev": tuple(_voice(*names.split()) for names in _DEV),
    "test": tuple(_voice(*names.split()) for names in _TEST),
    "checkpoint": tuple(_voice(variant, accent) for variant in _CHECKPOINT for accent in ACCENTS),
}


def variant(voice: Voice) -> str:
    """Return the voice variant without its accent; no two splits share one."""
    return voice.espeak.partition("+")[2]
