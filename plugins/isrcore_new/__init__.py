"""New packages for cameras and steps: ``isr new``."""
