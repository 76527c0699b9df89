"""One subcommand a file; each has `register(app)`."""
