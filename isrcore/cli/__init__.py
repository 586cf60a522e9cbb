"""The ``isr`` command: one file per subcommand."""
