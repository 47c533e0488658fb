"""A real test rig: a private engine, a scripted server, the real llama-server, a fake runtime."""
