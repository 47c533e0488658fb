"""The conductor on Trio's mock clock, over scripted runs."""
