"""Every section of params.yaml with the class that reads it; ``entries`` sections hold one entry a name."""

from dataclasses import dataclass
from typing import Any

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
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for name in ORDER:
        reader: Any = Entry if name == "finetuning" else SINGLE.get(name) or ENTRIES[name]
        model = TypeAdapter(reader).json_schema(ref_template="#/$defs/{model}")
        definitions |= model.pop("$defs", {})
        reference = model  # of the two kinds of expert, each of which has a title
        if "title" in model:
            definitions[model["title"]] = model
            reference = {"$ref": f"#/$defs/{model['title']}"}
        properties[name] = reference if name in SINGLE else {"type": "object", "additionalProperties": reference}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "params.yaml",
        "type": "object",
        "properties": properties,
        "required": list(ORDER),
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }
