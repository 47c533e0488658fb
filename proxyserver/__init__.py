"""The doing half of an inference proxy: a daemon that talks to engines, sockets and people."""
