"""The maths of flow matching: plain arithmetic that works on numpy arrays and torch tensors alike."""
