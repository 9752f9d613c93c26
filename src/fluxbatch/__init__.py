"""fluxbatch."""
