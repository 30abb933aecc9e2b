"""Trains the demo model: a Whisper of 0.9 M parameters that knows 120 words."""
