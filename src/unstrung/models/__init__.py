"""The makers: everything that turns a request into a clip."""
