"""Short scripts to copy: each trains or does one thing on data that ship, as ``main()``."""
