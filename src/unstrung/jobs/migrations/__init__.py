"""Steps that bring a store's tables from one version to the next, in their order; each runs once, in one transaction.

A step is a module m001_..., m002_... with `up(connection)`. A step that has been released is never changed.
"""
