"""Constants of the original."""
