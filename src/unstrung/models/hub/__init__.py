"""Open models from the Hugging Face hub, behind `Model`."""
