"""The readers of single corpora, by their names in ``corpus.reader``."""

from types import ModuleType

from pipeline_lib.corpus import crema_d, emodb, iemocap, meld, msp_podcast, nemo, ravdess, table, tess

READERS: dict[str, ModuleType] = {
    "ravdess": ravdess,
    "emodb": emodb,
    "crema_d": crema_d,
    "nemo": nemo,
    "tess": tess,
    "msp_podcast": msp_podcast,
    "iemocap": iemocap,
    "meld": meld,
    "table": table,
}
