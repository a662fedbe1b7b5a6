"""What a model is trained on: data, captions, consent and credits."""
