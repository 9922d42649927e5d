"""Readers of the common file formats, one file each; their public names are in seqattn.data."""
