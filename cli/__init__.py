"""The command ``pyro-vae``: words in, calls down, words out."""
