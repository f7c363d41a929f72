"""A classifier that several tests score by."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyro_vae.data import Data
from pyro_vae.metrics import Classifier, classifier_for


@pytest.fixture(scope="session")
def classifier(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A quick one, of few digits."""
    torch.set_num_threads(1)
    images, labels, test, test_labels = digits
    assert labels is not None
    return classifier_for(
        Data(images[:640], labels[:640], test, test_labels), tmp_path_factory.mktemp("cache")
    )


@pytest.fixture(scope="session")
def features(digits: Data, classifier: Classifier) -> Tensor:
    """Of 3,000 digits that it was not trained on, in random order."""
    return classifier.features(digits.train[1000:4000])
