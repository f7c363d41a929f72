"""What a run's options are, each declared once: types, defaults, help; torch is not needed."""

from pyro_vae.config.data import DataConfig
from pyro_vae.config.fields import Option, declared, option, read
from pyro_vae.config.fields import check_count as check_count
from pyro_vae.config.fit import FitConfig
from pyro_vae.config.model import ModelConfig
from pyro_vae.config.observation import ObservationConfig

__all__ = [
    "DataConfig",
    "FitConfig",
    "ModelConfig",
    "ObservationConfig",
    "Option",
    "declared",
    "option",
    "read",
]

OPTIONS: dict[str, Option] = declared(DataConfig, ObservationConfig, ModelConfig, FitConfig)
"""Every option of a run by its name, in the order of ``pyro-vae fit --help``."""
