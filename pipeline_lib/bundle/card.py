"""The model card of a bundle: README.md in the layout of the Hugging Face hub (Mitchell et al. 2019).

Scores and their intervals are those of ``scores/details.json``, everything else is the bundle's record. Nothing is made
up: what is not known is named as not known.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {"macro_f1": "macro-F1", "ua": "UA", "wa": "WA", "weighted_f1": "weighted F1", "ece": "ECE"}
CCC = "ccc_"
_ON_REQUEST = "licensed on request, for research, by a signed agreement that binds what is made from it"
LICENCES = {  # of corpora by the names of their readers: identifier on the hub, and what it says
    "ravdess": ("cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0: no commercial use, the same licence for what is made from it"),
    "nemo": ("cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0: no commercial use, the same licence for what is made from it"),
    "tess": ("cc-by-nc-nd-4.0", "CC BY-NC-ND 4.0: no commercial use, nothing made from it is passed on"),
    "emodb": ("cc-by-4.0", "CC BY 4.0 in the distribution on Zenodo: name the authors"),
    "crema_d": ("odbl", "Open Database License"),
    "meld": ("gpl-3.0", "GPL-3.0"),
    "msp_podcast": ("other", _ON_REQUEST),
    "iemocap": ("other", _ON_REQUEST),
    "demonstration": ("other", "synthetic speech of eSpeak NG; the project's licence, Apache-2.0"),
}
ARTICLE_5 = (
    "the placing on the market, the putting into service for this specific purpose, or the use of AI systems to infer"
    " emotions of a natural person in the areas of workplace and education institutions, except where the use of the AI"
    " system is intended to be put in place or into the market for medical or safety reasons"
)
INTENDED = f"""\
## Intended use

Research on speech, and the analysis of recordings whose speakers know of it and agree. A posterior says how listeners
would label the manner of speaking, as those of the corpus did; it does not say what a person feels. Expect lower scores
on other languages, ages, microphones and situations than those of the corpus; `ser evaluate` measures them.

## Misuse

**Prohibited in the European Union**, Regulation (EU) 2024/1689 (AI Act), Article 5(1)(f), since 2 February 2025:
"{ARTICLE_5}".

Elsewhere in the Union a system that infers emotions from biometric data, as a voice is, is high-risk (Annex III, point
1(c)), and those exposed to it are to be told (Article 50(3)). Not for decisions on people: hiring, grading, credit,
insurance, migration, policing, diagnosis. Not for detecting lies. Not on recordings made without consent.
"""


def licence_of(corpus: str) -> tuple[str, str] | None:
    """Return the licence of a corpus, its identifier on the hub and a sentence; None where it is not known.

    Args:
        corpus: name of its reader
    """
    return LICENCES.get(corpus)


def card(
    record: Mapping[str, Any],
    details: Mapping[str, Any] | None,
    repo: str,
    licence: tuple[str, str],
    adapters: Sequence[str] = (),
) -> str:
    """Return the model card as Markdown.

    Args:
        record: of the bundle
        details: scores by split and system, as scoring writes them; None where there are none
        repo: owner/name on the hub
        licence: identifier on the hub, and a sentence
        adapters: folders of LoRA in PEFT's layout in the repository
    """
    corpus = record["corpus"]
    front = {
        "license": licence[0],
        "library_name": "speech-emotion-pipeline",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", "audio", *(["peft", "lora"] if adapters else [])],
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# Speech emotion recognition, trained on {_plain(corpus['name'])}", ""]
    lines += [f"> **{_plain(corpus['notice'])}**", ""] if corpus.get("notice") else []
    lines += ["```bash", f"ser pull {repo} --out bundle", "ser predict recording.wav --bundle bundle", "```", ""]
    lines += [*_outputs(record), *_scores(record, details), *_data(record, licence), *_parts(record)]
    lines += [*_adapters(adapters), INTENDED]
    return "\n".join(lines)


def _outputs(record: Mapping[str, Any]) -> list[str]:
    low, high = record["attribute_scale"]
    labels = ", ".join(record["labels"]) or "no categories"
    length = record.get("longest_audio_s")
    whole = f"Audio up to {length:g} s is read whole, longer recordings are cut first. " if length else ""
    return [
        f"Labels: {_plain(labels)}. Attributes are on the corpus's scale, {low:g} to {high:g}. {whole}".rstrip(),
        "",
    ]


def _scores(record: Mapping[str, Any], details: Mapping[str, Any] | None) -> list[str]:
    split = str(record.get("scored_on"))
    rows = {name: row for name, row in ((details or {}).get(split) or {}).items() if _is_system(row)}
    lines = ["## Scores", ""]
    if not rows:
        return [*lines, "None were packed with it.", ""]
    keys = [key for key in NAMES if any(key in row for row in rows.values())]
    keys += sorted({key for row in rows.values() for key in row if _is_ccc(key)})
    titles = [NAMES.get(key) or f"CCC {key.removeprefix(CCC)}" for key in keys]
    head = f"Of `{_plain(split)}`; in brackets intervals over speakers, as scoring writes them."
    lines += [head, "", f"| system | n | speakers | {' | '.join(titles)} |", "|---" * (len(keys) + 3) + "|"]
    for name, row in rows.items():
        cells = [_cell(row, key) for key in keys]
        lines.append(f"| {_plain(name)} | {row.get('n', '')} | {row.get('n_speakers', '')} | {' | '.join(cells)} |")
    return [*lines, ""]


def _is_system(row: Any) -> bool:
    return isinstance(row, Mapping) and "n" in row


def _is_ccc(key: str) -> bool:
    return key.startswith(CCC) and not key.endswith(("_lo", "_hi"))


def _cell(row: Mapping[str, Any], key: str) -> str:
    value, low, high = (row.get(name) for name in (key, f"{key}_lo", f"{key}_hi"))
    if not isinstance(value, (int, float)):
        return ""
    interval = f" [{low:.3f}, {high:.3f}]" if isinstance(low, float) and isinstance(high, float) else ""
    return f"{value:.3f}{interval}"


def _data(record: Mapping[str, Any], licence: tuple[str, str]) -> list[str]:
    corpus = record["corpus"]
    counts = ", ".join(f"{n} {_plain(split)}" for split, n in corpus["utterances"].items())
    genders = ", ".join(f"{n} utterances {_plain(gender)}" for gender, n in corpus.get("genders", {}).items())
    lines = ["## Training data and groups", "", f"Corpus: {_plain(corpus['name'])}. Utterances: {counts}."]
    lines += [f"Speakers: {corpus['speakers']}. Gender: {genders or 'not known'}.", ""]
    lines += [f"Licence of the corpus: {licence[1]}. It binds whoever uses these weights.", ""]
    for name, prior in record.get("priors", {}).items():
        lines += [f"- {_plain(name)}: trained under the prior {_shares(prior['training'])};"]
        lines += [f"  its posterior contains {_shares(prior['target'] or prior['training'])} ({prior['prior']})."]
    return [
        *lines,
        "",
        "Recordings where labels are as frequent as elsewhere: `ser predict --prior label=share,...`.",
        "",
    ]


def _shares(prior: Mapping[str, float] | None) -> str:
    return ", ".join(f"{_plain(name)} {share:.3f}" for name, share in prior.items()) if prior else "that is not known"


def _parts(record: Mapping[str, Any]) -> list[str]:
    lines = ["## Parts", "", "| encoder or recogniser | from | revision | licence | copied |", "|---|---|---|---|---|"]
    for name, known in record.get("encoders", {}).items():
        values = [known.get("source"), known.get("revision"), known.get("licence") or "not known"]
        cells = [_plain(str(value or "")) for value in values]
        lines.append(f"| {_plain(name)} | {' | '.join(cells)} | {'yes' if known.get('copied') else 'no'} |")
    versions = ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
    return [*lines, "", f"Packed with {versions}.", ""]


def _adapters(adapters: Sequence[str]) -> list[str]:
    if not adapters:
        return []
    load = f'PeftModel.from_pretrained(base, "<this repository>", subfolder="{adapters[0]}").merge_and_unload()'
    lines = [
        "## LoRA by PEFT alone",
        "",
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModel",
    ]
    lines += ["", 'base = AutoModel.from_pretrained("<the encoder>")', f"encoder = {load}", "```", ""]
    return [
        *lines,
        f"Adapters: {', '.join(f'`{each}`' for each in adapters)}. Merge them: WavLM passes over PEFT's layers.",
        "",
    ]


def _plain(text: str) -> str:
    """Return a text as one line of Markdown without marks of tables and HTML."""
    return " ".join(text.replace("|", "/").replace("<", "(").replace(">", ")").split())
