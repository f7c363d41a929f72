"""``python -m pyro_vae_cli``."""

from .main import main

main()
