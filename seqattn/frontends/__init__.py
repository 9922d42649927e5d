"""Doors by which a modality enters."""
