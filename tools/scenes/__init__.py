"""Rendered pet-camera scenes with known answers: training frames, held-out clips and the demo's videos. Knows no model."""
