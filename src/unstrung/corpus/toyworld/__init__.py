"""The toy world: an endless, seeded stream of captioned clips made from openly licensed art."""
