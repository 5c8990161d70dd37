"""Trains the demo checkpoint: a tiny BLIP with the full architecture, on rendered scenes. Counted in steps, repeatable."""
