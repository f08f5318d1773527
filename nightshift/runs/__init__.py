"""The ledger: every reason to work is a row here, carried out once or skipped with a reason."""
