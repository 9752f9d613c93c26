"""The rows of a dataset without their pictures, asked in SQL. `from fluxbatch.query import Rows`."""

from fluxbatch.query.rows import Numbers as Numbers
from fluxbatch.query.rows import Rows as Rows
