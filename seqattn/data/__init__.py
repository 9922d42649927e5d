"""Readers, the token-budget sampler and the data module."""
