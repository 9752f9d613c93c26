"""How the ledger's schema came about: one revision a version, run by alembic where an older ledger is upgraded."""
