"""Work that survives: jobs in a database, whose turn it is, and the worker that does them."""
