"""Tests of reading GGUF files, and of the memory that is estimated from them."""
