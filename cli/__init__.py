"""The command line: parses arguments, calls the functions of the core, shows progress."""
