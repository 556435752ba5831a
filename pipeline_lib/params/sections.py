"""Every section of params.yaml with the class that reads it; ``entries`` sections hold one entry a name."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from pipeline_lib.params.base import Settings
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.params.demonstration import DemonstrationSettings
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.finetuning import Entry, FinetuningSettings
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.params.transcription import TranscriptionSettings

SINGLE: dict[str, type[Settings]] = {
    "corpus": CorpusSettings,
    "transcription": TranscriptionSettings,
    "fusion": FusionSettings,
    "scoring": ScoringSettings,
}
ENTRIES: dict[str, type[Settings]] = {
    "demonstration": DemonstrationSettings,
    "embedding": EmbeddingSettings,
    "finetuning": FinetuningSettings,
    "rebalancing": RebalancingSettings,
}
ORDER = ("demonstration", "corpus", "transcription", "embedding", "finetuning", "rebalancing", "fusion", "scoring")


@dataclass(frozen=True)
class Params:
    """params.yaml, read whole."""

    corpus: CorpusSettings
    transcription: TranscriptionSettings
    fusion: FusionSettings
    scoring: ScoringSettings
    demonstration: dict[str, DemonstrationSettings]
    embedding: dict[str, EmbeddingSettings]
    finetuning: dict[str, FinetuningSettings]
    rebalancing: dict[str, RebalancingSettings]


def schema() -> dict[str, Any]:
    """Return the JSON schema of params.yaml, for an editor's completion and hints."""
    readers: dict[str, Any] = SINGLE | ENTRIES | {"finetuning": Entry}  # an entry is of one of two classes
    mode: Literal["validation"] = "validation"
    inputs = [(name, mode, TypeAdapter(readers[name])) for name in ORDER]
    references, definitions = TypeAdapter.json_schemas(inputs, ref_template="#/$defs/{model}")
    properties: dict[str, Any] = {}
    for name in ORDER:
        reference = references[name, mode]
        properties[name] = reference if name in SINGLE else {"type": "object", "additionalProperties": reference}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "params.yaml",
        "type": "object",
        "properties": properties,
        "required": list(ORDER),
        "additionalProperties": False,
        "$defs": dict(sorted(definitions["$defs"].items())),  # classes of one name have their module's before it
    }
