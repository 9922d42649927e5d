"""Layers over packed positions: positions, feed-forward, mixers, the encoder."""
