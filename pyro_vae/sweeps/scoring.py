"""Scoring: what of a run's model is scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from pyro_vae.data import Data
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import positive, unknown
from pyro_vae.metrics import PARTS, evaluate
from pyro_vae.metrics.classifier import classifier_for
from pyro_vae.metrics.sample_scores import sample_scores
from pyro_vae.observed import KINDS
from pyro_vae.sweeps.reading import of_type, texts
from pyro_vae.types import JSON, Fields
from pyro_vae.vae import VAE

__all__: list[str] = []


@dataclass(frozen=True)
class Evaluation:
    """What to score.

    Attributes:
        parts: Of :data:`pyro_vae.metrics.PARTS`.
        iwae: K, to add the importance-weighted bound with K particles, or None.
        samples: Whether to score samples by a classifier of the data (needs labels).
        sample_kind: What of p(x|z) these samples are.
    """

    parts: tuple[str, ...] = ("latents", "reconstructions")
    iwae: int | None = None
    samples: bool = False
    sample_kind: str = "sample"

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {**asdict(self), "parts": list(self.parts)}

    def scores(self, vae: VAE, data: Data) -> JSON:
        """Scores of a model on the test part, those of its samples under ``samples``.

        The same of the validation part, where there is one, are under ``validation``: choices
        between runs are made by these.

        Args:
            vae: The model.
            data: Its data.
        """
        scores = self._scores_on(vae, data.test, data)
        if data.validation is not None:
            scores["validation"] = self._scores_on(vae, data.validation, data)
        return scores

    def _scores_on(self, vae: VAE, images: Loaded, data: Data) -> JSON:
        scores = evaluate(vae, images, train=data.train, iwae=self.iwae, parts=self.parts)
        if self.samples:
            classifier = classifier_for(data)
            scores["samples"] = sample_scores(vae, images, classifier, kind=self.sample_kind)
        return scores


def read_evaluation(table: Fields) -> Evaluation:
    """What a spec's table asks to score.

    Raises:
        InputError: If a key or a name is unknown, or a value of a wrong type.
    """
    names = [f.name for f in fields(Evaluation)]
    for key in table:
        if key not in names:
            raise unknown("key in [evaluation]", key, names)
    read = dict(table)
    if "parts" in read:
        read["parts"] = tuple(texts("evaluation.parts", read["parts"]))
    found = Evaluation(**read)
    for part in found.parts:
        if part not in PARTS:
            raise unknown("part of evaluation", part, PARTS)
    if found.iwae is not None:
        positive(**{"evaluation.iwae": found.iwae})
    of_type("evaluation.samples", found.samples, bool)
    kinds_of("evaluation.sample_kind", [found.sample_kind])
    return found


def kinds_of(name: str, value: object) -> tuple[str, ...]:
    """Kinds of pictures.

    Raises:
        InputError: If the value is no list of them.
    """
    kinds = texts(name, value)
    for kind in kinds:
        if kind not in KINDS:
            raise unknown(f"kind in {name}", kind, KINDS)
    return tuple(kinds)
