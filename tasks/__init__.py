"""Concrete tasks, seqattn's first customers: public names of seqattn only."""
