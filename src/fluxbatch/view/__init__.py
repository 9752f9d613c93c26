"""`fluxbatch view`: a dataset on loopback, with full-size pictures, paged through rather than loaded."""
